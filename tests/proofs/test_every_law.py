"""Every law has an experiment in which its part holds it and every part broken on purpose breaks it."""

import pytest

from torchstone.core.evidence import Verdict
from torchstone.core.law import all_laws
from torchstone.proofs.experiment import all_experiments
from torchstone.proofs.proving import prove
from torchstone.report.proof import describe

EXPERIMENTS = all_experiments()


@pytest.mark.parametrize("law", all_laws(), ids=lambda law: law.name)
def test_a_law_has_an_experiment(law):
    assert law.name in EXPERIMENTS, f"no experiment holds {law.name}: write @experiment({law.name!r}, ...) in src/torchstone/proofs/{law.topic}.py"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_law_holds_and_every_mutant_breaks_it(name):
    (proof,) = prove(name, mutants=True).proofs
    assert not proof.fault, proof.fault
    assert proof.verdict is Verdict.HOLDS, describe(proof.worst)
    passed = [mutant.name for mutant in proof.mutants if mutant.broken_by is None]
    assert not passed, f"{name} lets these parts pass: {passed}"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_another_seed_draws_the_same_conclusion(name):
    (proof,) = prove(name, seed=1234).proofs
    assert proof.verdict is Verdict.HOLDS, proof.fault or describe(proof.worst)
