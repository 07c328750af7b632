"""What a recorded study says about a question that is answered without it: a few remarks, told anew from its figures."""

from collections.abc import Sequence

from torchstone.core.study import StudyReport, counted
from torchstone.report.study import as_text, tally
from torchstone.studies.recorded import recorded


def studied(name: str, settings: Sequence[str], *figures: str) -> tuple[str, ...]:
    """What came of the study's laws, a line a figure with its intervals, and the command that made it."""
    report = recorded(name)
    told = (f"{report.figures[figure]}: {_row(report, settings, figure)}" for figure in figures)
    laws = tally(report).partition(": ")[2]
    return (f"study {name}, {counted(report.seeds, 'seed')}, ± 95 %; its laws: {laws}", *told, report.remarks[0])


def _row(report: StudyReport, settings: Sequence[str], figure: str) -> str:
    found = ((name, report.outcomes.interval(name, figure)) for name in settings)
    return ", ".join(f"{as_text(value)} ({name})" for name, value in found)
