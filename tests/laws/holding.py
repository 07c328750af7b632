"""A law held in a test as the program holds it: the formula predicts, the verdict is the evidence's own."""

from torchstone import laws
from torchstone.core.evidence import Evidence, Relation, Site, Verdict
from torchstone.core.law import find_law
from torchstone.core.quantity import EXACT, Amount, Quantity, Tolerance

assert laws.__all__

AT_MOST, AT_LEAST = Relation.AT_MOST, Relation.AT_LEAST
DOUBLE = Tolerance(rounding=Amount(1e-9, "float64"))


def sampling(values, errors=4.0):
    """The mean of independent rows and the tolerance that their number leaves."""
    standard_error = values.std().item() / len(values) ** 0.5
    return values.mean().item(), Tolerance(sampling=Amount(errors * standard_error, f"{errors:g} standard errors of {len(values)} rows"))


def _verdict(name, arguments, measured, tolerance, relation):
    law = find_law(name)
    predicted = law.formula(**arguments)
    evidence = Evidence(name, Site(), Quantity(predicted, law.unit), Quantity(measured, law.unit), tolerance, relation)
    return evidence.verdict, f"{name}{arguments}: predicted {predicted}, measured {measured}, tolerance {tolerance}"


def holds(name, arguments, measured, tolerance=EXACT, relation=Relation.EQUAL):
    verdict, said = _verdict(name, arguments, measured, tolerance, relation)
    assert verdict is Verdict.HOLDS, said


def breaks(name, arguments, measured, tolerance=EXACT, relation=Relation.EQUAL):
    verdict, said = _verdict(name, arguments, measured, tolerance, relation)
    assert verdict is Verdict.BROKEN, said
