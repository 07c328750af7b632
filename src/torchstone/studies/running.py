"""The verb `study`: every setting with every seed, each finished run written down at once, then the verdict."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from torchstone.core.errors import UsageError
from torchstone.core.evidence import Verdict
from torchstone.core.files import whole
from torchstone.core.study import Outcomes, Setting, StudyReport
from torchstone.studies.keeping import Keeper, Shared
from torchstone.studies.store import Store
from torchstone.studies.study import Study, Tools, find_study

SEEDS, QUICK_SEEDS = 3, 2
Progress = Callable[[str, int, int], None]
_PARTS = 1000  # of one run, on the progress line


def study(
    name: str, *, quick: bool = False, data: str | Path | None = None, seeds: int | None = None,
    out: str | Path | None = None, progress: Progress | None = None,
) -> StudyReport:
    """Run a study, or the rest of one that was stopped; what it measured lies in `out` (`study-NAME` unless named).

    quick: a size for two minutes on two cores, which says what it cannot show. data: a folder with MNIST in IDX form, gzipped
    or not. seeds: how many independent runs a setting has. Raises UsageError for an unknown name, fewer than one seed, data for a
    study that has its own, or a folder that cannot be used.
    """
    chosen = find_study(name)
    count = seeds if seeds is not None else _default_seeds(chosen, quick=quick)
    if count < 1:
        message = f"a study needs at least one seed; {seeds} came"
        raise UsageError(message)
    folder = None if data is None else Path(data)
    if folder is not None and not folder.is_dir():
        message = f"--data {folder} is no folder; name the one that holds the data, or leave it out"
        raise UsageError(message)
    if folder is not None and hasattr(chosen, "OWN_DATA"):
        message = f"{name} takes no --data: it trains on {chosen.OWN_DATA}; leave --data out"
        raise UsageError(message)
    out = Path(out) if out is not None else Path(f"study-{name}{'-quick' if quick else ''}")
    with closing(Store(out, name, {"quick": quick, "data": str(folder.resolve()) if folder else ""})) as store:
        remarks = _Remarks(store.folder)
        _run_all(chosen, store, count, quick=quick, folder=folder, remarks=remarks, progress=progress)
        return _report(chosen, store, count, quick=quick, remarks=remarks)


def _default_seeds(chosen: Study, *, quick: bool) -> int:
    name, usual = ("QUICK_SEEDS", QUICK_SEEDS) if quick else ("SEEDS", SEEDS)
    return int(getattr(chosen, name, usual))


class _Remarks:
    """What runs had to say, kept beside them: a study that goes on later says it again."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "remarks.txt"
        self.said = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []

    def __call__(self, text: str) -> None:
        if text not in self.said:
            self.said.append(text)
            with whole(self._path) as part:
                part.write_text("".join(f"{line}\n" for line in self.said), encoding="utf-8")


def _run_all(
    chosen: Study, store: Store, count: int, *, quick: bool, folder: Path | None, remarks: _Remarks, progress: Progress | None
) -> None:
    # Seed by seed: a study stopped half-way has compared all its settings on the seeds that are done.
    pairs = itertools.product(range(count), chosen.settings(quick=quick))
    plan: Sequence[tuple[int, Setting]] = [(seed, one) for seed, one in pairs if one.seeds is None or seed < one.seeds]
    for place, (seed, setting) in enumerate(plan):
        if store.find(setting.name, seed) is None:
            told = _telling(progress, chosen.NAME, place, len(plan))
            keeper = Keeper(store.folder / f"part-{place}-{seed}.pt")
            tools = Tools(quick, folder, told, keeper, Shared(store.folder), remarks)
            outcome = chosen.run(setting, seed, tools)
            store.add(dataclasses.replace(outcome, setting=setting.name, seed=seed, seconds=keeper.seconds))
            keeper.drop()
        if progress is not None:
            progress(chosen.NAME, (place + 1) * _PARTS, len(plan) * _PARTS)


def _telling(progress: Progress | None, name: str, place: int, runs: int) -> Callable[[int, int], None]:
    def tell(done: int, all_of_it: int) -> None:
        if progress is not None:
            progress(name, place * _PARTS + _PARTS * done // max(all_of_it, 1), runs * _PARTS)

    return tell


def _report(chosen: Study, store: Store, count: int, *, quick: bool, remarks: _Remarks) -> StudyReport:
    names = [setting.name for setting in chosen.settings(quick=quick)]
    runs = [store.find(name, seed) for name in names for seed in range(count)]
    outcomes = Outcomes(tuple(run for run in runs if run is not None))
    evidence = tuple(chosen.judge(outcomes, quick=quick))
    said = [*([f"quick: {chosen.QUICK}"] if quick else []), *remarks.said]
    if any(item.verdict is Verdict.UNDECIDED for item in evidence) and count == 1:
        said.append("one seed has no interval: more seeds may decide what is undecided (--seeds 3)")
    return StudyReport(
        chosen.NAME, chosen.QUESTION, chosen.SETTLES, dict(chosen.FIGURES), outcomes, evidence, tuple(chosen.plots(outcomes)),
        quick, count, sum(run.seconds for run in outcomes.runs), tuple(said), store.folder,
    )
