"""The verb `prove`: experiments run, their evidence summed, their mutants tried."""

import time
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

from torchstone.core.errors import UsageError, meant, told
from torchstone.core.evidence import Evidence, Verdict
from torchstone.core.law import Law, all_laws, find_law
from torchstone.core.proof import Mutant, Proof, ProofReport
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import Experiment, Part, all_experiments
from torchstone.proofs.holding import strain
from torchstone.proofs.symbols import identities

Progress = Callable[[str, int, int], None]


def prove(name: str | None = None, *, mutants: bool = False, seed: int = 0, progress: Progress | None = None) -> ProofReport:
    """Hold the law `name`, the laws of the topic `name`, or every law against the running parts.

    With `mutants`, each law is also held against parts broken on purpose, which must break it.
    Raises UsageError if nothing has that name, and for a seed below 0.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        message = f"seed is a whole number of 0 or more; {seed!r} came: give another"
        raise UsageError(message)
    chosen = _chosen(name)
    began = time.perf_counter()
    proofs = []
    for position, experiment in enumerate(chosen):
        if progress:
            progress(experiment.law, position, len(chosen))
        proofs.append(_prove(experiment, seed, mutants=mutants))
    if progress:
        progress("done", len(chosen), len(chosen))
    return ProofReport(tuple(proofs), time.perf_counter() - began)


def _chosen(name: object) -> list[Experiment]:
    if name is not None and not isinstance(name, str):
        message = f"a law or topic is named by text; {name!r} came: give one name, or none for every law"
        raise UsageError(message)
    experiments = all_experiments()
    chosen = [one for law, one in experiments.items() if name in {None, law, law.partition(".")[0]}]
    if not chosen:
        topics = sorted({law.topic for law in all_laws()})
        near = meant(str(name), [*topics, *experiments])
        message = f"no law or topic is named {name!r}; topics: {', '.join(topics)}; `torchstone explain` lists the laws{near}"
        raise UsageError(message)
    return chosen


def _prove(experiment: Experiment, seed: int, *, mutants: bool) -> Proof:
    law = find_law(experiment.law)
    began = time.perf_counter()
    evidence, fault = _collect(experiment.run(experiment.part, _draws(law, seed)))
    if experiment.symbolic is not None and not fault:
        exact, fault = _collect(identities(law, experiment.symbolic))
        evidence += exact
    proof = Proof(
        law.name, law.kind, experiment.how, len(evidence),
        broken=_count(evidence, Verdict.BROKEN), undecided=_count(evidence, Verdict.UNDECIDED),
        worst=max(evidence, key=_tells_most, default=None), seconds=time.perf_counter() - began, fault=fault,
    )  # fmt: skip
    if not mutants:
        return proof
    tried = tuple(Mutant(title, _caught(experiment, broken, seed)) for title, broken in experiment.mutants.items())
    return replace(proof, mutants=tried)


def _tells_most(evidence: Evidence) -> tuple[float, ...]:
    """The worst comes first; of those that agree alike (counts do exactly) the largest, which says more than 0 = 0."""
    return *strain(evidence), abs(evidence.predicted.value)


def _draws(law: Law, seed: int) -> Draws:
    return Draws(seed + zlib.crc32(law.name.encode()))


def _caught(experiment: Experiment, mutant: Part, seed: int) -> Evidence | None:
    """The first evidence that a mutant breaks; a mutant that raises before has been tried on nothing: it counts as let pass."""
    samples = experiment.run(mutant, _draws(find_law(experiment.law), seed))
    with suppress(Exception):
        return next((item for item in samples if item.verdict is Verdict.BROKEN), None)
    return None


def _collect(samples: Iterable[Evidence]) -> tuple[list[Evidence], str]:
    evidence: list[Evidence] = []
    try:
        for item in samples:
            evidence.append(item)  # noqa: PERF402 - what came before a fault counts
    except Exception as error:  # noqa: BLE001 - a part that raises is told in the table, not thrown at the user
        return evidence, told(error)
    return evidence, ""


def _count(evidence: Iterable[Evidence], verdict: Verdict) -> int:
    return sum(item.verdict is verdict for item in evidence)
