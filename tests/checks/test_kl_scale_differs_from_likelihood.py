"""kl-scale-differs-from-likelihood: broken only at a factor that is a size of the tensors."""

import pytest

from checks.recordings import LINE, only_evidence, only_finding, recording
from torchstone.checks.bottleneck import kl_scale_differs_from_likelihood as check
from torchstone.core.events import BackwardCalled, OperationCount
from torchstone.core.evidence import Verdict
from torchstone.core.looks import LatentsSeen


def code(weight, likelihood=1.0, *, function="binary_cross_entropy", reduction="sum", averaged=(), residual=0.0, **given):
    event = LatentsSeen(
        1, LINE, 32, 12, 784, weight, residual, likelihood, function, function == "mse_loss", LINE, reduction, averaged, LINE, 2.0**-23, **given,
    )
    return recording(event)


@pytest.mark.parametrize(("weight", "given"), [
    (1 / 784, {}), (1 / (32 * 784), {}), (1 / 12, {"averaged": (12,)}), (1 / (32 * 12), {"averaged": (384,)}), (1 / 32, {"averaged": (32,)}),
    (1.0, {"likelihood": 1 / 784, "reduction": "mean"}), (1.0, {"likelihood": 0.5 / 784, "function": "mse_loss", "reduction": "mean"}),
])  # fmt: skip
def test_a_factor_that_is_a_size_is_broken(weight, given):
    found = only_finding(check, code(weight, **given))
    assert "a ratio of" in found.message
    assert list(check.changes(found, code(weight, **given)))


@pytest.mark.parametrize(("weight", "given"), [(1.0, {}), (2.0, {"function": "mse_loss"}), (1 / 32, {"likelihood": 1 / 32})])
def test_the_same_reduction_of_both_holds(weight, given):
    assert only_evidence(check, code(weight, **given)).verdict is Verdict.HOLDS


@pytest.mark.parametrize(("weight", "given"), [
    (0.05, {}), (4.0, {}), (1 / 12, {}), (784 / 12, {}), (0.0, {}), (1 / 784, {"residual": 0.5}), (1 / 784, {"reason": "two losses"}),
    (1 / 784, {"likelihood": 0.0}), (0.1 / 32, {"likelihood": 0.1, "averaged": (32,)}), (2 / 32 / 32, {
        "likelihood": 1 / 32, "averaged": (32,), "function": "mse_loss"}),
    (1.0, {"likelihood": 1 / (32 * 784), "reduction": "mean", "averaged": (32,)}),
])  # fmt: skip
def test_any_other_weight_is_left_undecided(weight, given):
    assert only_evidence(check, code(weight, **given)).verdict is Verdict.UNDECIDED


def test_a_look_is_asked_for_where_random_numbers_meet_a_reconstruction():
    counts = tuple(OperationCount(name, 1) for name in ("exp", "mul", "add", "mseloss"))
    assert check.look(recording(BackwardCalled(1, LINE, 1.0, counts, drawn=True))) is not None
    assert check.look(recording(BackwardCalled(1, LINE, 1.0, counts))) is None
    assert check.look(recording(BackwardCalled(1, LINE, 1.0, counts[:3], drawn=True))) is None
