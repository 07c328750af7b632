"""What studies' tests share: tools without a progress line, and outcomes made by hand."""

from torchstone.core.study import Outcome, Outcomes
from torchstone.studies.keeping import Keeper, Shared
from torchstone.studies.study import Tools


class StoppedError(Exception):
    """Raised where a test kills a run."""


def tools(folder, *, quick=True, stop_at=None):
    """Tools that keep their state in a folder; `stop_at` kills the run at that step."""

    folder.mkdir(exist_ok=True)

    def tell(done, every):
        if done == stop_at:
            raise StoppedError

    return Tools(quick, None, tell, Keeper(folder / "part.pt"), Shared(folder), lambda text: None)


def outcomes(figures, seeds=4, curves=None):
    """Runs whose figures spread a little over seeds: {setting: {figure: value or (value, spread)}}."""
    runs = []
    for setting, values in figures.items():
        for seed in range(seeds):
            shift = (seed - (seeds - 1) / 2) / seeds
            made = {name: value[0] + shift * value[1] if isinstance(value, tuple) else value for name, value in values.items()}
            runs.append(Outcome(setting, seed, made, (curves or {}).get(setting, {})))
    return Outcomes(tuple(runs))


def verdicts(study, made, *, quick=False):
    """Every law's verdict, in the order in which the study holds them."""
    return [item.verdict.value for item in study.judge(made, quick=quick)]
