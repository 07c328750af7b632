"""A study without training, for the engine's tests."""

from types import SimpleNamespace

from torchstone.core.quantity import Unit
from torchstone.core.study import Plot, Setting
from torchstone.studies.judging import above, near
from torchstone.studies.study import measured

PICTURE = ((0.0, 1.0), (1.0, 0.5))


def toy(ran, stop_at=None):
    """Two settings whose figure is their number times ten plus the seed; `ran` collects what ran, `stop_at` interrupts."""

    def run(setting, seed, tools):
        if (setting.name, seed) == stop_at:
            tools.keep.save(reached=3)
            raise KeyboardInterrupt
        kept = tools.keep.load()
        ran.append((setting.name, seed, None if kept is None else kept["reached"]))
        tools.tell(1, 1)
        tools.remark("toys are not real")
        figures = {"height": 10.0 * setting.values["number"] + seed}
        return measured(figures, {"line": ((0.0, 1.0), (1.0, float(seed)))}, {"face": PICTURE})

    def judge(outcomes, *, quick):
        del quick
        yield near("loss.uniform_cross_entropy", 11.0, outcomes.interval("one", "height"), "one", rival=5.0, unit=Unit.VALUE)
        yield above("loss.uniform_cross_entropy", 0.0, outcomes.difference("two", "one", "height"), "two above one", Unit.VALUE)

    def plots(outcomes):
        series = {name: outcomes.mean_curve(name, "line") for name in outcomes.settings}
        yield Plot("lines", "Lines", "x", "y", series, widths={"one": (0.1, 0.2)}, references={"zero": 0.0})
        yield Plot("faces", "Faces", pictures={"a": PICTURE, "b": PICTURE})

    return SimpleNamespace(
        NAME="toy", QUESTION="Is two more than one?", SETTLES=("A1",), FIGURES={"height": "height [m]"}, QUICK="nothing",
        settings=lambda *, quick: [Setting("one", {"number": 1}), Setting("two", {"number": 2})], run=run, judge=judge, plots=plots,
    )
