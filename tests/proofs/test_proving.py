"""The engine of `prove`: what an experiment may be, what a fault, an undecided sample and a toothless law become."""

from dataclasses import replace

import pytest
import torch

from torchstone.core.errors import InvariantError, UsageError
from torchstone.core.evidence import Evidence, Relation, Verdict
from torchstone.core.law import Kind, find_law
from torchstone.core.proof import Mutant, Proof
from torchstone.core.quantity import EXACT
from torchstone.proofs.draws import Draws, adversarial
from torchstone.proofs.experiment import Experiment, experiment
from torchstone.proofs.holding import SITE, held, rounding, sampling, strain
from torchstone.proofs.proving import _prove, prove
from torchstone.proofs.symbols import identities

LAW = "loss.uniform_cross_entropy"


def run(part, draws):
    for classes in (2, 3, 5):
        yield held(LAW, {"classes": classes}, part(classes), rounding(4, 2))


def made(part, **mutants):
    return Experiment(LAW, part, run, "float64", mutants)


def logarithm(classes):
    return torch.tensor(float(classes), dtype=torch.float64).log()


def test_a_part_that_holds_and_one_mutant_that_is_caught_and_one_that_passes():
    proof = _prove(made(logarithm, twice=lambda k: 2 * logarithm(k), same=logarithm), 0, mutants=True)
    assert (proof.verdict, proof.samples, proof.broken, proof.toothless) == (Verdict.HOLDS, 3, 0, False)
    assert [mutant.name for mutant in proof.mutants if mutant.broken_by] == ["twice"]
    assert _prove(made(logarithm, same=logarithm), 0, mutants=True).toothless


def test_a_part_that_raises_breaks_the_law_and_says_why():
    proof = _prove(made(lambda k: 1 / 0), 0, mutants=False)
    assert (proof.verdict, proof.fault) == (Verdict.BROKEN, "ZeroDivisionError: division by zero")
    assert not proof.toothless


def test_a_mutant_that_raises_is_not_caught_by_the_law():
    proof = _prove(made(logarithm, raises=lambda k: 1 / 0), 0, mutants=True)
    assert proof.toothless


def test_nothing_decided_is_undecided():
    proof = Proof(LAW, Kind.BOUND, "", samples=0, broken=0, undecided=0, worst=None, seconds=0.0)
    assert proof.verdict is Verdict.UNDECIDED
    assert Proof(LAW, Kind.BOUND, "", 1, 0, 0, None, 0.0, (Mutant("m", None),)).toothless


def test_a_wrong_number_of_numbers_breaks():
    evidence = held(LAW, {"classes": 2}, [1.0, 2.0])
    assert (evidence.verdict, evidence.predicted.value, evidence.measured.value) == (Verdict.BROKEN, 1, 2)


def test_what_is_no_number_goes_furthest():
    evidence = held(LAW, {"classes": 2}, torch.tensor(float("nan")), rounding(1))
    assert evidence.verdict is Verdict.BROKEN
    assert strain(evidence)[0] == float("inf")


def test_a_bound_is_judged_on_its_own_side():
    assert held(LAW, {"classes": 2}, 0.0, EXACT, Relation.AT_MOST).verdict is Verdict.HOLDS
    assert held(LAW, {"classes": 2}, 0.0, EXACT, Relation.AT_LEAST).verdict is Verdict.BROKEN


def test_an_experiment_needs_a_mutant_and_is_alone():
    with pytest.raises(InvariantError, match="has no mutant"):
        experiment("loss.uniform_binary_cross_entropy", part=logarithm, mutants={})(run)
    prove(LAW)
    with pytest.raises(InvariantError, match="two experiments hold"):
        experiment(LAW, part=logarithm, mutants={"m": logarithm})(run)


def test_an_unknown_name_is_refused_with_the_topics():
    with pytest.raises(UsageError, match=r"no law or topic is named 'los'; topics: .*loss"):
        prove("los")


def test_an_adversary_finds_what_chance_does_not():
    draws = Draws(0)
    start = draws.normal(8)
    found = adversarial(lambda x: -(x - 3).square().sum(), start, steps=200)
    assert (found - 3).norm() < 0.2 < (start - 3).norm()
    assert torch.equal(adversarial(lambda x: (0 * x).sum(), start), start)


def test_draws_repeat_from_their_seed():
    assert Draws(3).integers(0, 99, 5) == Draws(3).integers(0, 99, 5) != Draws(4).integers(0, 99, 5)
    mean, tolerance = sampling(Draws(0).normal(10000))
    assert abs(mean) <= tolerance.total < 0.1


def test_the_worst_uses_most_of_its_tolerance_and_zero_says_least():
    exact, near, far = (held(LAW, {"classes": 1}, off, rounding(1, scale)) for off, scale in ((0.0, 0.0), (1e-17, 1), (1e-9, 1)))
    assert strain(exact) < strain(near) < (1, 0) < strain(far)
    undecided = Evidence(LAW, SITE, exact.predicted, None, reason="no device")
    assert max([undecided, exact], key=strain) is exact
    assert strain(held(LAW, {"classes": 1}, 1.0))[0] == float("inf")
    assert strain(held(LAW, {"classes": 2}, 0.0, EXACT, Relation.AT_MOST))[0] == -float("inf")


def test_symbols_that_raise_are_a_fault_and_not_the_end():
    def raising(law):
        yield law(None)

    proof = _prove(replace(made(logarithm, twice=lambda k: 2 * logarithm(k)), symbolic=raising), 0, mutants=True)
    assert proof.fault.startswith("TypeError")
    assert (proof.samples, proof.verdict, proof.toothless) == (3, Verdict.BROKEN, False)


def test_a_formula_is_proved_on_symbols_as_it_stands_and_a_wrong_identity_is_seen():
    import sympy

    x = sympy.Symbol("x", positive=True)
    law = find_law("loss.gaussian_negative_log_likelihood")
    right, wrong = identities(law, lambda f: [f(x) - sympy.log(2 * sympy.pi * sympy.E * x) / 2, f(x) - sympy.log(x)])
    assert (right.verdict, wrong.verdict) == (Verdict.HOLDS, Verdict.BROKEN)


@pytest.mark.parametrize(("given", "said"), [
    ({"seed": "a"}, "seed is a whole number of 0 or more; 'a' came"),
    ({"seed": -1}, "-1 came"),
    ({"seed": True}, "True came"),
    ({"name": ["activation"]}, r"named by text; \['activation'\] came"),
])  # fmt: skip
def test_what_is_no_seed_or_name_is_refused(given, said):
    with pytest.raises(UsageError, match=said):
        prove(**given)
