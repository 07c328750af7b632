"""A report: everything held, everything found, and how the run behind it went."""

from dataclasses import dataclass

from torchstone.core.evidence import Evidence, Verdict
from torchstone.core.finding import Finding, Severity


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The watched run in a few numbers. Of the ranks of one run, only rank 0 has a report to show."""

    script: str
    arguments: tuple[str, ...] = ()
    steps: int = 0
    backward_passes: int = 0
    seconds: float = 0.0
    reason: str = "finished"
    exit_code: int = 0
    first_loss: float | None = None
    last_loss: float | None = None
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """How many laws held, broke and stayed undecided, counted over sites."""

    held: int
    broken: int
    undecided: int


@dataclass(frozen=True, slots=True)
class Report:
    """What `check` returns. `notes` are plain sentences: what was cut short, diverted or left out."""

    run: RunSummary
    evidence: tuple[Evidence, ...] = ()
    findings: tuple[Finding, ...] = ()
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    fail_on: Severity = Severity.WARNING

    @property
    def tally(self) -> Tally:
        """Evidence counted by verdict; the three sum to all evidence."""
        verdicts = [evidence.verdict for evidence in self.evidence]
        return Tally(*(verdicts.count(v) for v in (Verdict.HOLDS, Verdict.BROKEN, Verdict.UNDECIDED)))

    @property
    def exit_code(self) -> int:
        """The script's own code if it failed; 2 if we did; else 1 if there is a finding that counts, else 0."""
        if self.run.exit_code:
            return self.run.exit_code
        if self.faults and not self.evidence:
            return 2  # we failed before anything could be held
        counted = {Severity.ERROR} if self.fail_on is Severity.ERROR else set(Severity)
        return int(any(finding.severity in counted for finding in self.findings))
