"""What no run has is refused by the laws of steps and gradients (their proofs are in proofs/optimization)."""

import pytest

from torchstone.core.errors import InvariantError
from torchstone.laws import optimization


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: optimization.carried_gradient(-0.5), "clearing leaves a share of zero or more; -0.5 came"),
        (lambda: optimization.carried_gradient(float("nan")), "clearing leaves a share of zero or more; nan came"),
        (lambda: optimization.updates_received(-1, in_optimizer=True, has_gradient=True), "steps are counted from zero; -1 came"),
    ],
)
def test_what_no_run_has_is_refused_with_its_value(call, said):
    with pytest.raises(InvariantError) as refused:
        call()
    assert str(refused.value) == said
