"""Adam line by line, where weight decay enters it, and what that does to weights of small and of large gradient.

Lines, each computed from what is above it:

    1 gradient          g_t
    2 first moment      m_t = beta1 m_{t-1} + (1 - beta1) g_t
    3 second moment     v_t = beta2 v_{t-1} + (1 - beta2) g_t²
    4 parameter update  theta_t = theta_{t-1} - alpha m̂_t / (sqrt(v̂_t) + eps)

with m̂_t = m_t / (1 - beta1^t) and v̂_t = v_t / (1 - beta2^t).
"""

import math

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit

LINES = ("gradient", "first moment", "second moment", "parameter update")
FORMS = ("l2", "decoupled")
_KINGMA, _LOSHCHILOV = "Kingma and Ba 2015, algorithm 1", "Loshchilov and Hutter 2019, algorithm 2"


def _form(form: str) -> None:
    if form not in FORMS:
        message = f"decay is {' or '.join(FORMS)}; {form!r} came"
        raise InvariantError(message)


@law(
    "optimization.adam_step",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("one coordinate", "step is counted from 1", "a second moment that is not negative"),
    sources=(_KINGMA, f"{_LOSHCHILOV}: line 6 (l2) and line 12 (decoupled)"),
)
def adam_step(  # noqa: PLR0913 - Adam has as many numbers
    parameter: float, gradient: float, first: float, second: float, step: int, *,
    learning_rate: float, beta1: float, beta2: float, eps: float, decay: float = 0.0, line: str = "gradient",
) -> tuple[float, float, float]:
    """A step of Adam gives theta, m and v of the four lines; the decay term is added to the gradient of one line, or to the update.

    In line 1 the term decay·theta joins the gradient for all lines (the L2 form), in lines 2 and 3 for that moment only; in line 4
    the parameter loses lr·decay·theta beside its step (the decoupled form, as torch's AdamW has it).

    >>> adam_step(1.0, 2.0, 0.0, 0.0, 1, learning_rate=0.5, beta1=0.5, beta2=0.75, eps=0.0)
    (0.5, 1.0, 1.0)
    >>> adam_step(
    ...     1.0, 2.0, 0.0, 0.0, 1, learning_rate=0.5, beta1=0.5, beta2=0.75, eps=0.0, decay=0.5, line="parameter update"
    ... )
    (0.25, 1.0, 1.0)
    """  # fmt: skip
    if line not in LINES or step < 1:
        message = f"a line is one of {', '.join(LINES)} and steps count from 1; {line!r} and {step} came"
        raise InvariantError(message)
    term = decay * parameter
    shared = gradient + term if line == "gradient" else gradient
    first = beta1 * first + (1 - beta1) * (shared + term if line == "first moment" else shared)
    second = beta2 * second + (1 - beta2) * (shared + term if line == "second moment" else shared) ** 2
    moved = first / (1 - beta1**step) / (math.sqrt(second / (1 - beta2**step)) + eps)
    lost = learning_rate * term if line == "parameter update" else 0.0
    return parameter - lost - learning_rate * moved, first, second


@law(
    "optimization.decay_line",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("the four lines of this module", "a decay and a gradient that are not 0"),
    sources=(f"{_LOSHCHILOV}: the violet term is line 6, the green one line 12", "tried: Adam with the term at every line"),
)
def decay_line(form: str) -> int:
    """L2 regularisation enters Adam at line 1, the gradient; explicit (decoupled) decay at line 4, the parameter update.

    Both moments (lines 2 and 3) then hold the L2 term, and neither holds the decoupled one.

    >>> decay_line("l2"), decay_line("decoupled")
    (1, 4)
    """
    _form(form)
    return 1 + LINES.index("gradient" if form == "l2" else "parameter update")


@law(
    "optimization.shrinkage_slope",
    Kind.TREND,
    Unit.RATIO,
    assumes=(
        "the decay term is small beside the gradients, eps small beside both",
        "gradients of zero mean, each coordinate with its own scale; shrinkage is what decay takes, relative to the weight",
    ),
    sources=(
        "Loshchilov and Hutter 2019, section 2, proposition 3 and what follows it",
        "derivation: the L2 term is divided by sqrt(v) like the gradient",
    ),
)
def shrinkage_slope(form: str) -> float:
    """Relative shrinkage goes as 1 / the gradient's scale (log-log slope -1) under Adam with L2, as no power of it (0) decoupled.

    So with L2 weights of small gradients shrink faster; with decoupled decay all shrink alike.

    >>> shrinkage_slope("l2"), shrinkage_slope("decoupled")
    (-1.0, 0.0)
    """
    _form(form)
    return -1.0 if form == "l2" else 0.0
