"""Normalisation as its two maps, demeaning and normalising, each with its backward in closed form, and LayerNorm made of them.

Axis letters: *b any leading axes, d numbers normalised together: the last axis, or the last few of them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torchstone.core.errors import UsageError

__all__ = ["Demean", "LayerNorm", "Normalize", "demean", "normalize"]

Shape = int | Sequence[int]
_NARROW = {torch.float16, torch.bfloat16}


class _Demean(torch.autograd.Function):
    """f(x) = x - mean(x), over the last `axes` axes."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, axes: int) -> Tensor:
        return _demeaned(x, axes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004 - torch's signature
        ctx.axes = inputs[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        # The Jacobian I - 1 1'/d is symmetric: backward and forward derivative are the map itself.
        return _demeaned(gradients[0], ctx.axes), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return _demeaned(tangents[0], ctx.axes)


class _Normalize(torch.autograd.Function):
    """h(z) = z / sqrt(mean(z²) + eps), over the last `axes` axes."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, axes: int, eps: float) -> Tensor:
        return _normalized(z, axes, eps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004 - torch's signature
        z, ctx.axes, ctx.eps = inputs
        ctx.save_for_backward(z)
        ctx.save_for_forward(z)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _passed(ctx.saved_tensors[0], gradients[0], ctx.axes, ctx.eps), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return _passed(ctx.saved_tensors[0], tangents[0], ctx.axes, ctx.eps)


def _last(axes: int) -> list[int]:
    return list(range(-axes, 0))


def _demeaned(x: Tensor, axes: int) -> Tensor:
    return x - x.mean(_last(axes), keepdim=True)


def _normalized(z: Tensor, axes: int, eps: float) -> Tensor:
    return z * _inverse_deviation(z, axes, eps)


def _inverse_deviation(z: Tensor, axes: int, eps: float) -> Tensor:
    return torch.rsqrt(z.square().mean(_last(axes), keepdim=True) + eps)


def _passed(z: Tensor, g: Tensor, axes: int, eps: float) -> Tensor:
    """(g - y mean(g y)) / sigma, the symmetric Jacobian times g; of z rather than of y and sigma: it is differentiated again."""
    inverse = _inverse_deviation(z, axes, eps)
    along = (g * z).mean(_last(axes), keepdim=True)
    return inverse * (g - z * (inverse.square() * along))


def _widened(x: Tensor) -> Tensor:
    """Means of half-precision numbers are taken in float32, as torch's own layer_norm does."""
    return x.float() if x.dtype in _NARROW else x


def demean(input: Float[Tensor, "*d"], axes: int = 1) -> Float[Tensor, "*d"]:  # noqa: A002 - torch's name
    """f(x) = x - mean(x) over the last `axes` axes; its gradient is g - mean(g), whatever x is.

    Scaling x scales f alike and leaves the gradient as it is; the direction 1 cannot pass. input: (*b, *d), any floating type.
    Source: Ba, Kiros and Hinton 2016, section 3.

    >>> demean(torch.tensor([1.0, 2.0, 6.0])).tolist()
    [-2.0, -1.0, 3.0]
    """
    x = _widened(input)
    # A compiler differentiates, and fuses, the plain formula.
    output: Tensor = _demeaned(x, axes) if torch.compiler.is_compiling() else _Demean.apply(x, axes)  # type: ignore[no-untyped-call]
    return output.to(input.dtype)


def normalize(input: Float[Tensor, "*d"], axes: int = 1, eps: float = 0.0) -> Float[Tensor, "*d"]:  # noqa: A002 - torch's name
    """h(z) = z / sqrt(mean(z²) + eps) over the last `axes` axes; its gradient is (g - (g.y) y / d) / sigma.

    Every row comes out with norm sqrt(d) (eps = 0); scaling z leaves h as it is and divides the gradient; the direction z cannot
    pass. A row of zeros has no direction: with eps = 0 it becomes NaN. input: (*b, *d), any floating type. The same as
    torch.nn.functional.rms_norm without a weight. Source: Zhang and Sennrich 2019, section 4.

    >>> normalize(torch.tensor([1.0, -7.0])).tolist()
    [0.20000000298023224, -1.399999976158142]
    """
    z, compiling = _widened(input), torch.compiler.is_compiling()
    output: Tensor = _normalized(z, axes, eps) if compiling else _Normalize.apply(z, axes, eps)  # type: ignore[no-untyped-call]
    return output.to(input.dtype)


class _OverLastAxes(nn.Module):
    """What the modules here have in common: the axes that are normalised together, and their sizes, checked."""

    def __init__(self, normalized_shape: Shape) -> None:
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        if not shape or min(shape) < 1:
            message = f"normalized_shape has one size or more, each of 1 or more; {normalized_shape} came"
            raise UsageError(message)
        self.normalized_shape = shape

    def _axes(self, x: Tensor) -> int:
        axes = len(self.normalized_shape)
        if tuple(x.shape[-axes:]) != self.normalized_shape:
            message = f"the last axes of the input must be {self.normalized_shape}; {tuple(x.shape)} came"
            raise UsageError(message)
        return axes


class Demean(_OverLastAxes):
    """`demean` over axes of the sizes `normalized_shape`, an int or a sequence; (*b, *normalized_shape) to the same.

    Raises UsageError for an input that ends otherwise.
    """

    def forward(self, input: Float[Tensor, "*d"]) -> Float[Tensor, "*d"]:  # noqa: A002 - torch's name
        """Demeaned."""
        return demean(input, self._axes(input))

    def extra_repr(self) -> str:
        """The sizes, for printing."""
        return f"{self.normalized_shape}"


class Normalize(_OverLastAxes):
    """`normalize` over axes of the sizes `normalized_shape`, an int or a sequence; (*b, *normalized_shape) to the same.

    eps: added to the mean square; 0, as the definition has it. nn.RMSNorm with `elementwise_affine=False` and the same eps.
    Raises UsageError for an input that ends otherwise, and for a negative eps.
    """

    def __init__(self, normalized_shape: Shape, eps: float = 0.0) -> None:
        super().__init__(normalized_shape)
        self.eps = _not_negative(eps)

    def forward(self, input: Float[Tensor, "*d"]) -> Float[Tensor, "*d"]:  # noqa: A002 - torch's name
        """Normalised."""
        return normalize(input, self._axes(input), self.eps)

    def extra_repr(self) -> str:
        """The arguments, for printing."""
        return f"{self.normalized_shape}, eps={self.eps}"


class LayerNorm(_OverLastAxes):
    """Demeaning, then normalising, then a weight and a bias: nn.LayerNorm's arguments, parameters and numbers.

    `eps` is added to the variance, as nn.LayerNorm adds it. Two maps in place of torch's one fused kernel, made to look into them:
    they can be hooked, taken apart and differentiated twice. For speed alone nn.LayerNorm is the better, and loads the same state.
    Input and output: (*b, *normalized_shape). Raises UsageError for an input that ends otherwise, and for a negative eps.
    Source: Ba, Kiros and Hinton 2016, section 3.
    """

    def __init__(
        self,
        normalized_shape: Shape,
        eps: float = 1e-5,
        elementwise_affine: bool = True,  # noqa: FBT001, FBT002 - nn.LayerNorm's arguments
        bias: bool = True,  # noqa: FBT001, FBT002
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(normalized_shape)
        self.eps, self.elementwise_affine = _not_negative(eps), elementwise_affine
        sizes = self.normalized_shape
        self.weight = nn.Parameter(torch.empty(sizes, device=device, dtype=dtype)) if elementwise_affine else None
        self.bias = nn.Parameter(torch.empty(sizes, device=device, dtype=dtype)) if elementwise_affine and bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Float[Tensor, "*d"]) -> Float[Tensor, "*d"]:  # noqa: A002 - torch's name
        """Demeaned, normalised, weighted."""
        axes = self._axes(input)
        output = normalize(demean(_widened(input), axes), axes, self.eps)
        if self.weight is not None:
            output = output * self.weight
        if self.bias is not None:
            output = output + self.bias
        return output.to(input.dtype)

    def extra_repr(self) -> str:
        """The arguments, for printing."""
        affine = f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        return f"{self.normalized_shape}, eps={self.eps}, {affine}"


def _not_negative(eps: float) -> float:
    if not eps >= 0:
        message = f"eps is added to a mean of squares and is zero or more; {eps} came"
        raise UsageError(message)
    return eps
