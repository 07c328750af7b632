"""Weight decay and L2 penalties: the conventions in use, and when two of them are one.

| convention | what a step does | its number |
|---|---|---|
| decay a step, lambda | theta <- theta - eta grad - lambda theta | a share of the parameter |
| penalty, gamma | loss + gamma ‖theta‖² | its gradient is 2 gamma theta |
| torch, weight_decay | SGD: grad + weight_decay theta; AdamW: theta <- (1 - lr weight_decay) theta | a share per learning rate |
"""

import math
from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit

_LOSHCHILOV = "Loshchilov and Hutter 2019, section 2"


def _finite(**numbers: float) -> None:
    wrong = {name: number for name, number in numbers.items() if not math.isfinite(number)}
    if wrong:
        message = f"finite numbers are needed; {', '.join(f'{name} = {number}' for name, number in wrong.items())} came"
        raise InvariantError(message)


@law(
    "optimization.l2_penalty",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("plain gradient descent: the step is the learning rate times the gradient", "a learning rate above 0"),
    sources=(f"{_LOSHCHILOV}, proposition 1", "derivation: the gradient of gamma ‖theta‖² is 2 gamma theta"),
)
def l2_penalty(decay: float, learning_rate: float) -> float:
    """Descent with theta - eta grad - lambda theta is descent on loss + gamma ‖theta‖² with gamma = lambda / (2 eta), and no other.

    >>> l2_penalty(0.01, 0.5)
    0.01
    """
    _finite(decay=decay, learning_rate=learning_rate)
    if learning_rate == 0:
        message = "without a learning rate a penalty does nothing: no penalty is the same as a decay; give a rate above 0"
        raise InvariantError(message)
    return decay / (2 * learning_rate)


@law(
    "optimization.decay_share",
    Kind.EQUIVALENCE,
    Unit.RATIO,
    assumes=("torch.optim.SGD, or AdamW (Adam with decoupled decay)", "a step whose gradient is 0, momentum 0"),
    sources=("torch.optim.SGD and AdamW, documented pseudocode", f"{_LOSHCHILOV}: there the share has no learning rate"),
)
def decay_share(weight_decay: float, learning_rate: float) -> float:
    """Torch's weight_decay takes the share lambda = lr weight_decay of a parameter at every step: it counts per learning rate.

    Breaks when: Adam has the L2 form; it normalises the term like any other gradient.

    >>> decay_share(0.5, 0.25)
    0.125
    """
    _finite(weight_decay=weight_decay, learning_rate=learning_rate)
    return learning_rate * weight_decay


@law(
    "optimization.penalty_weight_decay",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("the penalty is gamma ‖theta‖² without a half in front", "torch.optim.SGD, or Adam in the L2 form"),
    sources=("the gradient of gamma ‖theta‖² is 2 gamma theta; torch adds weight_decay theta to the gradient",),
)
def penalty_weight_decay(penalty: float) -> float:
    """A penalty gamma ‖theta‖² in the loss is torch's weight_decay = 2 gamma where torch adds the decay to the gradient.

    >>> penalty_weight_decay(0.25)
    0.5
    """
    _finite(penalty=penalty)
    return 2 * penalty


@law(
    "optimization.matching_decay",
    Kind.EQUIVALENCE,
    Unit.RATIO,
    assumes=("the preconditioner is M_t = c times the identity", "no momentum"),
    sources=(f"{_LOSHCHILOV}, propositions 1 and 2", "optimization.form_difference is 0 for every theta"),
)
def matching_decay(scale: float, learning_rate: float, l2: float) -> float:
    """With M_t = c I the L2 form is the decay form with lambda_r = alpha c lambda_w, and no other.

    c may change with t if lambda_r does.

    >>> matching_decay(2.0, 0.25, 0.5)
    0.25
    """
    _finite(scale=scale, learning_rate=learning_rate, l2=l2)
    return learning_rate * scale * l2


@law(
    "optimization.form_difference",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("M_t is diagonal and the same in both forms", "one step from the same theta with the same gradient"),
    sources=(f"{_LOSHCHILOV}, proposition 2: no lambda_r matches unless M_t = c I", "derivation: the gradient's terms cancel"),
)
def form_difference(
    parameters: Sequence[float], scales: Sequence[float], learning_rate: float, l2: float, decay: float
) -> tuple[float, ...]:
    """The L2 form's step ends (lambda_r - alpha lambda_w m_i) theta_i away from the decay form's.

    It is 0 for every theta only if all m_i are lambda_r / (alpha lambda_w): M_t a multiple of the identity.
    `scales` are the m_i on the diagonal of M_t; `l2` is lambda_w, `decay` lambda_r.

    >>> form_difference([2.0, 2.0], [1.0, 3.0], 0.5, 0.25, 0.125)
    (0.0, -0.5)
    """
    if len(parameters) != len(scales):
        message = f"M_t has one entry a parameter; {len(scales)} entries and {len(parameters)} parameters came"
        raise InvariantError(message)
    _finite(learning_rate=learning_rate, l2=l2, decay=decay)
    return tuple((decay - learning_rate * l2 * m) * x for x, m in zip(parameters, scales, strict=True))
