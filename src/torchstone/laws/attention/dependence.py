"""What a model's output must not depend on: later tokens when it predicts the next one, and positions that only fill up.

Counts of positions; an output depends on a position where its gradient with respect to it is not 0.
"""

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit


@law(
    "attention.future_dependence",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("weights in general position: no gradient is 0 by chance", "targets are the tokens read one position later"),
    sources=("Vaswani et al. 2017, section 3.2.3: masked attention preserves the auto-regressive property",),
)
def future_dependence(positions: int, position: int, *, causal: bool = True) -> int:
    """A causal model's output at position i (from 0) depends on none of the T - 1 - i later positions; without a mask, on all.

    >>> future_dependence(8, 2), future_dependence(8, 2, causal=False)
    (0, 5)
    """
    if not 0 <= position < positions:
        message = f"a position from 0 to {positions - 1} is needed; {position} came"
        raise InvariantError(message)
    return 0 if causal else positions - 1 - position


@law(
    "attention.padding_dependence",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("weights in general position: no gradient is 0 by chance", "at least one position is not padded"),
    sources=("Vaswani et al. 2017, section 3.2.3: values of illegal connections are set to -inf before the soft-max",),
)
def padding_dependence(padded: int, *, masked: bool = True) -> int:
    """Attention with a key padding mask depends on none of the padded positions; without it, on all of them.

    >>> padding_dependence(3), padding_dependence(3, masked=False)
    (0, 3)
    """
    if padded < 0:
        message = f"padded positions are counted from zero; {padded} came"
        raise InvariantError(message)
    return 0 if masked else padded
