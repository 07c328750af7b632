"""Low-rank factors beside a frozen linear layer: at the start the layer itself, bit for bit; merged and unmerged without drift.

Axis letters: i in features, o out features, r rank. `lora_A` is (r, i) and random, `lora_B` is (o, r) and zero, as in the paper and
in peft; a document that writes W + AB with A = 0 means by A what is called lora_B here.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import flop_registry, register_flop_formula

from torchstone.core.errors import UsageError
from torchstone.laws.adaptation.factors import update_scale

# vmap has no rule for the product in place, and no public way to say that it is at work; without this one it counts as at work.
_transformed: Callable[[], bool] = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)  # noqa: SLF001
# nn.MultiheadAttention's output projection is an nn.Linear under another name; it reads `weight` and `bias` and never calls it.
LINEAR = (nn.Linear, nn.modules.linear.NonDynamicallyQuantizableLinear)
_FULL = (torch.float32, torch.float64)

# torch's counter knows the product that is written into another tensor, but not the one that is written in place.
if torch.ops.aten.addmm_ not in flop_registry:

    @register_flop_formula(torch.ops.aten.addmm_)
    def _product_in_place(_: Sequence[int], one: Sequence[int], other: Sequence[int], **__: object) -> int:
        return 2 * one[0] * one[1] * other[1]


def is_transposed(module: nn.Module) -> bool:
    """Whether a module is a linear layer that keeps its weight as (in, out): transformers' Conv1D, known by name and by `nf`."""
    weight = getattr(module, "weight", None)
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf") and isinstance(weight, Tensor) and weight.dim() == 2  # noqa: PLR2004


def is_adaptable(module: nn.Module) -> bool:
    """Whether `LoRA` can stand in a module's place."""
    return type(module) in LINEAR or is_transposed(module)


def base_weight(module: nn.Module) -> Float[Tensor, "o i"]:
    """The weight of a linear layer as (out, in)."""
    weight: Tensor = module.weight  # type: ignore[assignment]
    return weight.t() if is_transposed(module) else weight


class LoRA(nn.Module):
    """A frozen linear layer W x + b with trainable factors beside it: W x + b + s B A x, s = alpha / rank.

    `base_layer` is an `nn.Linear` (or transformers' Conv1D), kept as it is and frozen. alpha is `rank` if not given, so that s = 1;
    `use_rslora` makes s = alpha / sqrt(rank). `dropout` acts on what the factors see, in training. `init_lora_weights=False` draws
    B as well: not the identity then. dtype is that of the factors, the base's by default. Input (*, i), output (*, o).

    `weight` and `bias` are those of the whole, W + s B A, so that modules that read a layer's weight instead of calling it
    (nn.MultiheadAttention's out_proj, nn.TransformerEncoderLayer's fast path) see the adapter too, and their gradients reach it.

    Raises UsageError for a module that is no linear layer, a rank below 1, and a dropout that is no probability.
    Source: Hu et al. 2022, section 4.1; Kalajdzievski 2023 for alpha / sqrt(rank).

    >>> LoRA(nn.Linear(6, 4), rank=2, alpha=16)
    LoRA(
      in_features=6, out_features=4, rank=2, alpha=16, scale=8
      (base_layer): Linear(in_features=6, out_features=4, bias=True)
    )
    """

    merged_weight: Tensor | None

    def __init__(
        self,
        base_layer: nn.Module,
        rank: int = 8,
        alpha: float | None = None,
        dropout: float = 0.0,
        *,
        use_rslora: bool = False,
        init_lora_weights: bool = True,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not is_adaptable(base_layer):
            message = f"an nn.Linear or a Conv1D is adapted; {type(base_layer).__name__} came: name linear layers as target modules"
            raise UsageError(message)
        alpha = check_settings(rank, alpha, dropout)
        self.rank, self.alpha, self.dropout, self.use_rslora = rank, alpha, dropout, use_rslora
        self.scale = update_scale(alpha, rank, stabilized=use_rslora)
        self.base_layer = base_layer.requires_grad_(requires_grad=False)
        self.transposed = is_transposed(base_layer)
        self.in_one = not self.transposed and base_layer.bias is not None
        weight = base_weight(base_layer)
        self.out_features, self.in_features = weight.shape
        place: dict[str, Any] = {"device": weight.device, "dtype": dtype or weight.dtype}
        self.lora_A = nn.Parameter(torch.empty(rank, self.in_features, **place))
        self.lora_B = nn.Parameter(torch.empty(self.out_features, rank, **place))
        self.register_buffer("merged_weight", None, persistent=False)
        self.register_load_state_dict_post_hook(_unmerge_after_loading)  # type: ignore[no-untyped-call]
        self.reset_lora_parameters(init_lora_weights=init_lora_weights)
        self.train(base_layer.training)

    def reset_lora_parameters(self, *, init_lora_weights: bool = True) -> None:
        """Draw A as nn.Linear draws its weight, uniform in ±1/sqrt(i), and make B zero; draw it too if not `init_lora_weights`."""
        self.unmerge()
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        if init_lora_weights:
            nn.init.zeros_(self.lora_B)
        else:
            nn.init.kaiming_uniform_(self.lora_B, a=math.sqrt(5))

    @property
    def update(self) -> Float[Tensor, "o i"]:
        """S B A, what is added to the frozen weight; differentiable."""
        return self.scale * (self.lora_B @ self.lora_A)

    @property
    def weight(self) -> Float[Tensor, "o i"]:
        """W + s B A, in the base's dtype; (i, o) for a Conv1D, as the base's own weight is."""
        base = base_weight(self.base_layer)
        whole = self.merged_weight if self.merged_weight is not None else (base + self.update).to(base.dtype)
        return whole.t() if self.transposed else whole

    @property
    def bias(self) -> Tensor | None:
        """The base's bias."""
        bias: Tensor | None = self.base_layer.bias  # type: ignore[assignment]
        return bias

    @property
    def merged(self) -> bool:
        """Whether `forward` uses one merged weight."""
        return self.merged_weight is not None

    @torch.no_grad()
    def merge(self) -> None:
        """From now on compute with the one weight W + s B A, for evaluation: as fast as the base, no gradient to the factors.

        The base's own weight is kept untouched, so that `unmerge` restores it bit for bit and layers tied to it do not change.
        `train()`, and loading a state dict, unmerge. Calling it again merges anew.
        """
        self.merged_weight = None
        self.merged_weight = self.weight.t().contiguous() if self.transposed else self.weight

    def unmerge(self) -> None:
        """Compute with the frozen weight and the factors again."""
        self.merged_weight = None

    def train(self, mode: bool = True) -> "LoRA":  # noqa: FBT001, FBT002 - nn.Module's signature
        """As nn.Module's; training unmerges, since a merged layer's factors would get no gradient."""
        if mode:
            self.unmerge()
        return super().train(mode)

    def forward(self, input: Float[Tensor, "*n i"]) -> Float[Tensor, "*n o"]:  # noqa: A002 - torch's name
        """The adapted layer's output."""
        output: Tensor
        # Members are looked up where nn.Module keeps them: its own look-up, eight times, is half a percent of a layer's time.
        merged, base = self._buffers["merged_weight"], cast("Any", self._modules["base_layer"])
        down, up = cast("Tensor", self._parameters["lora_A"]), cast("Tensor", self._parameters["lora_B"])
        if merged is not None:
            return functional.linear(input, merged, self.bias)
        seen = functional.dropout(input, self.dropout, self.training) if self.dropout else input
        if seen is input and self.in_one and _is_plain(base, input, down):
            rows = input if input.dim() == 2 else input.reshape(-1, self.in_features)  # noqa: PLR2004
            output = _in_one(rows, base, down, up, self.scale)
            return output if rows is input else output.view(*input.shape[:-1], self.out_features)
        output = base(input)
        if not seen.dtype == output.dtype == down.dtype:  # mixed precision: the factors keep theirs
            added = functional.linear(functional.linear(seen.to(down.dtype), down), up)
            return (output + self.scale * added).to(output.dtype)
        rows = seen.reshape(-1, self.in_features) @ down.t()
        return torch.addmm(output.reshape(-1, self.out_features), rows, up.t(), alpha=self.scale).view(output.shape)

    def extra_repr(self) -> str:
        """The arguments, for printing the network."""
        dropout = f", dropout={self.dropout:g}" if self.dropout else ""
        sizes = f"in_features={self.in_features}, out_features={self.out_features}, rank={self.rank}, alpha={self.alpha:g}"
        return f"{sizes}, scale={self.scale:g}{dropout}{', merged' if self.merged else ''}"


def _is_plain(base: Any, input: Tensor, down: Tensor) -> bool:  # noqa: A002 - torch's name
    """Whether `_in_one` gives a layer's own bits while B is zero: on a CPU, in full precision, with nobody watching its calls."""
    weight = base._parameters.get("weight")  # noqa: SLF001 - not there where somebody has parametrised it
    return (
        weight is not None
        and input.dtype in _FULL
        and input.dtype is down.dtype
        and input.dtype is weight.dtype
        and input.is_cpu
        and input.is_contiguous()
        and not (base._forward_hooks or base._forward_pre_hooks or base._backward_hooks or base._backward_pre_hooks)  # noqa: SLF001
        and not torch.is_autocast_enabled("cpu")
        and not _transformed()
    )


def _in_one(rows: Tensor, base: Any, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """Bias, factors, weight, in this order: the large product goes into what the small one made, as it goes into the bias.

    With B zero the same numbers meet in the same order as in nn.Linear's one call, and the output is written once less than by
    adding the factors behind it. Width 1024, 64 rows: 1.04 to 1.05 of the base's time, 1.06 behind, 1.09 by `base(x) + s * ...`.
    """
    kept = base._parameters  # noqa: SLF001 - as in `forward`
    begun = torch.addmm(kept["bias"], (down @ rows.t()).t(), up.t(), alpha=scale)
    return begun.addmm_(rows, kept["weight"].t())


def check_settings(rank: object, alpha: object, dropout: object) -> float:
    """The alpha to use; raises UsageError for a rank, an alpha or a dropout that no adapter has."""
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        message = f"an adapter's rank is a whole number of 1 or more; {rank!r} came"
        raise UsageError(message)
    alpha = float(rank) if alpha is None else alpha
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        message = f"an adapter's alpha is a finite number; {alpha!r} came"
        raise UsageError(message)
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        message = f"an adapter's dropout is a probability from 0, below 1; {dropout!r} came"
        raise UsageError(message)
    return alpha


def _unmerge_after_loading(module: nn.Module, _: object) -> None:
    if isinstance(module, LoRA):
        module.unmerge()
