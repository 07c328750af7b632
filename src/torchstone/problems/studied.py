"""What a recorded study says about a question that is answered without it: one remark, told anew from its figures."""

from collections.abc import Sequence

from torchstone.core.study import StudyReport
from torchstone.report.study import as_text
from torchstone.studies.recorded import recorded


def studied(name: str, settings: Sequence[str], *figures: str) -> tuple[str, ...]:
    """The figures of some settings with their intervals, the number of seeds, and what the study left undecided or broken."""
    report = recorded(name)
    told = (f"{report.figures[figure]}: {_row(report, settings, figure)}" for figure in figures)
    verdicts = [item.verdict.value for item in report.evidence]
    counted = ", ".join(f"{verdicts.count(one)} {one}" for one in dict.fromkeys(verdicts))
    return (f"study {name}, {report.seeds} seeds, ± 95 %: {'; '.join(told)}; its laws: {counted}", report.remarks[0])


def _row(report: StudyReport, settings: Sequence[str], figure: str) -> str:
    found = ((name, report.outcomes.interval(name, figure)) for name in settings)
    return ", ".join(f"{as_text(value)} ({name})" for name, value in found)
