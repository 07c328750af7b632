"""A proof: one law held against its running part on samples, and against parts broken on purpose."""

from dataclasses import dataclass

from torchstone.core.evidence import Evidence, Verdict
from torchstone.core.law import Kind


@dataclass(frozen=True, slots=True)
class Mutant:
    """A part broken on purpose, and the evidence that gave it away; None if the law let it pass."""

    name: str
    broken_by: Evidence | None


@dataclass(frozen=True, slots=True)
class Proof:
    """How a law fared. `worst` is the evidence that came closest to its tolerance, or went furthest beyond it.

    `mutants` is None when none were tried. `fault` is what the part raised where it should have answered.
    """

    law: str
    kind: Kind
    how: str
    samples: int
    broken: int
    undecided: int
    worst: Evidence | None
    seconds: float
    mutants: tuple[Mutant, ...] | None = None
    fault: str = ""

    @property
    def verdict(self) -> Verdict:
        """Broken by one sample or a fault; undecided if nothing was decided; else holds."""
        if self.fault or self.broken:
            return Verdict.BROKEN
        return Verdict.UNDECIDED if self.samples == self.undecided else Verdict.HOLDS

    @property
    def toothless(self) -> bool:
        """Whether mutants were tried and none of them broke the law."""
        return self.mutants is not None and all(mutant.broken_by is None for mutant in self.mutants)


@dataclass(frozen=True, slots=True)
class ProofReport:
    """What `prove` returns."""

    proofs: tuple[Proof, ...]
    seconds: float

    @property
    def exit_code(self) -> int:
        """1 if a law is not held or has no teeth, else 0."""
        return int(any(proof.verdict is not Verdict.HOLDS or proof.toothless for proof in self.proofs))
