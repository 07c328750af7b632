"""How many parameters are trained: a soft prompt's, low-rank adapters', and all of a decoder's, from its configuration alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit


def _check(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            message = f"{name} is 1 or more; {size} came"
            raise InvariantError(message)


@dataclass(frozen=True, slots=True)
class Decoder:
    """A decoder-only transformer's configuration: all that its parameter count depends on.

    `intermediate` is the width inside the feed-forward block, `gated` whether that has three matrices (gate, up, down) or two.
    `key_value` is the width of keys and of values, `hidden` if 0; `positions` counts learned position embeddings. `bias`: every
    linear layer but the head, and every norm, has one. `tied`: the head is the word embedding.
    """

    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    key_value: int = 0
    positions: int = 0
    gated: bool = True
    bias: bool = False
    tied: bool = False

    def __post_init__(self) -> None:
        _check(layers=self.layers, hidden=self.hidden, intermediate=self.intermediate, vocabulary=self.vocabulary)
        if self.key_value < 0 or self.positions < 0:
            message = f"key_value and positions are 0 or more; {self.key_value} and {self.positions} came"
            raise InvariantError(message)

    @property
    def matrices(self) -> dict[str, tuple[int, int]]:
        """The linear layers of one block, (in features, out features) each."""
        keys = self.key_value or self.hidden
        attention = {"query": (self.hidden, self.hidden), "key": (self.hidden, keys), "value": (self.hidden, keys)}
        gate = {"gate": (self.hidden, self.intermediate)} if self.gated else {}
        inside = {"up": (self.hidden, self.intermediate), "down": (self.intermediate, self.hidden)}
        return {**attention, "output": (self.hidden, self.hidden), **gate, **inside}


@law(
    "adaptation.soft_prompt_parameters",
    Kind.COUNT,
    Unit.PARAMETERS,
    assumes=("the prompt's vectors are trained themselves: no network makes them", "the model is frozen"),
    sources=("Lester, Al-Rfou and Constant 2021, section 2: P_e in R^{p x e}",),
)
def soft_prompt_parameters(tokens: int, hidden: int) -> int:
    """A soft prompt of n vectors in front of the embedded inputs has n d parameters.

    >>> soft_prompt_parameters(tokens=5, hidden=5120)
    25600
    """
    _check(tokens=tokens, hidden=hidden)
    return tokens * hidden


@law(
    "adaptation.lora_parameters",
    Kind.COUNT,
    Unit.PARAMETERS,
    assumes=("both factors are trained, the weights and the biases are frozen",),
    sources=("Hu et al. 2022, section 4.2: B in R^{d x r}, A in R^{r x k}",),
)
def lora_parameters(matrices: Sequence[tuple[int, int]], rank: int) -> int:
    """Adapters of rank r beside matrices of (in, out) features have the sum of r (in + out) parameters.

    Query, key and value of the top four layers of a model with hidden size 5120, rank 8:

    >>> lora_parameters([(5120, 5120)] * 3 * 4, rank=8)
    983040
    """
    _check(rank=rank)
    for inside, outside in matrices:
        _check(**{"in features": inside, "out features": outside})
    return rank * sum(inside + outside for inside, outside in matrices)


@law(
    "adaptation.full_parameters",
    Kind.COUNT,
    Unit.PARAMETERS,
    subject=Decoder,
    assumes=("two norms a block and one behind the last, each with a weight", "no bias on the head"),
    sources=("Touvron et al. 2023, section 2.2 and table 2: gated, no bias", "Radford et al. 2019, section 2.3: biases, tied"),
)
def full_parameters(decoder: Decoder) -> int:
    """Full tuning trains (V + p) d for the embeddings, V d more for an untied head, and for each block its matrices and two norms.

    The 13B of LLaMA, without allocating it:

    >>> full_parameters(Decoder(layers=40, hidden=5120, intermediate=13824, vocabulary=32000))
    13015864320
    """
    matrices = decoder.matrices.values()
    biases = sum(outside for _, outside in matrices) if decoder.bias else 0
    norm = decoder.hidden * (2 if decoder.bias else 1)
    block = sum(inside * outside for inside, outside in matrices) + biases + 2 * norm
    embedded = (decoder.vocabulary * (1 if decoder.tied else 2) + decoder.positions) * decoder.hidden
    return embedded + decoder.layers * block + norm
