"""The transformer's layers: what they hold, what they cost, and which positions may be read.

A layer is attention (four d x d matrices) and a feed-forward network (d x f and f x d), each with a LayerNorm; a decoder layer has
a second attention, over the encoder's output. Axis letters: b batch, t positions, s positions of the encoder's output, d width,
f feed-forward width.
"""

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit

_VASWANI = "Vaswani et al. 2017, sections 3.1 to 3.3"


def _checked(*sizes: int) -> None:
    if min(sizes) < 0:
        message = f"sizes are zero or more; {sizes} came"
        raise InvariantError(message)


def _parameters(width: int, feedforward: int, attentions: int, *, bias: bool) -> int:
    _checked(width, feedforward)
    weights = attentions * 4 * width**2 + 2 * width * feedforward
    biases = attentions * 4 * width + feedforward + width
    norms = (attentions + 1) * width
    return weights + norms + (biases + norms if bias else 0)


@law("transformer.encoder_layer_parameters", Kind.COUNT, Unit.PARAMETERS, sources=(_VASWANI,))
def encoder_layer_parameters(width: int, feedforward: int, *, bias: bool = True) -> int:
    """An encoder layer has 4 d^2 + 2 d f weights, 2 d of two LayerNorms, and with biases 7 d + f more.

    >>> encoder_layer_parameters(512, 2048)
    3152384
    """
    return _parameters(width, feedforward, 1, bias=bias)


@law("transformer.decoder_layer_parameters", Kind.COUNT, Unit.PARAMETERS, sources=(_VASWANI,))
def decoder_layer_parameters(width: int, feedforward: int, *, bias: bool = True) -> int:
    """A decoder layer has 8 d^2 + 2 d f weights, 3 d of three LayerNorms, and with biases 12 d + f more.

    >>> decoder_layer_parameters(512, 2048)
    4204032
    """
    return _parameters(width, feedforward, 2, bias=bias)


@law(
    "transformer.encoder_layer_flops",
    Kind.COST,
    Unit.FLOP,
    assumes=("matrix products alone", "every pair of positions is scored"),
    sources=(_VASWANI, "a matrix product of (n, k) and (k, m) takes 2 n k m"),
)
def encoder_layer_flops(batch: int, positions: int, width: int, feedforward: int) -> int:
    """An encoder layer takes 2 b t (4 d^2 + 2 d f) FLOP for its matrices and 4 b t^2 d for scores and their sums of values.

    >>> encoder_layer_flops(1, 100, 512, 2048) == 2 * 100 * (4 * 512**2 + 2 * 512 * 2048) + 4 * 100**2 * 512
    True
    """
    _checked(batch, positions, width, feedforward)
    return 2 * batch * positions * (4 * width**2 + 2 * width * feedforward) + 4 * batch * positions**2 * width


@law(
    "transformer.decoder_layer_flops",
    Kind.COST,
    Unit.FLOP,
    assumes=("matrix products alone", "every pair of positions is scored"),
    sources=(_VASWANI, "transformer.encoder_layer_flops, and attention over s positions with its own four matrices"),
)
def decoder_layer_flops(batch: int, positions: int, memory: int, width: int, feedforward: int) -> int:
    """A decoder layer takes an encoder layer's FLOP, and 4 b (t + s) d^2 + 4 b t s d for its attention over s positions.

    >>> decoder_layer_flops(1, 10, 0, 8, 16) - encoder_layer_flops(1, 10, 8, 16) == 4 * 10 * 8**2
    True
    """
    _checked(memory)
    over_memory = 4 * batch * (positions + memory) * width**2 + 4 * batch * positions * memory * width
    return encoder_layer_flops(batch, positions, width, feedforward) + over_memory


@law("transformer.visible_pairs", Kind.COUNT, Unit.COUNT, sources=("Vaswani et al. 2017, section 3.2.3: masking",))
def visible_pairs(positions: int, *, causal: bool) -> int:
    """Without a causal mask each of t positions reads all t (encoder style), with it only those up to its own: t (t + 1)/2 pairs.

    >>> visible_pairs(4, causal=False), visible_pairs(4, causal=True)
    (16, 10)
    """
    _checked(positions)
    return positions * (positions + 1) // 2 if causal else positions**2
