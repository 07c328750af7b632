"""The curvature of a real model's loss: extreme Hessian eigenvalues by Lanczos' iteration on Hessian-vector products.

No Hessian is built: one forward and one backward pass, then one more backward pass an iteration, and iterations x parameters
numbers of memory. Axis letters: k iterations, n all parameters together.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torchstone.core.errors import UsageError
from torchstone.laws import optimization

Vector = Float[Tensor, "n"]


@dataclass(frozen=True)
class Lanczos:
    """A symmetric matrix seen from its Krylov space: its projection is tridiagonal.

    `coupling` is the norm left after the last iteration: nothing but rounding where the space is `exhausted` (invariant).
    """

    diagonal: Float[Tensor, "k"]
    off_diagonal: Float[Tensor, "k-1"]
    coupling: float
    exhausted: bool
    basis: Float[Tensor, "k n"]

    def ritz(self) -> tuple[Float[Tensor, "k"], Float[Tensor, "k"]]:
        """Ritz values in ascending order, and the last component of each one's eigenvector (of the tridiagonal matrix)."""
        matrix = self.diagonal.diag() + self.off_diagonal.diag(1) + self.off_diagonal.diag(-1)
        values, vectors = torch.linalg.eigh(matrix)
        return values, vectors[-1]


@dataclass(frozen=True)
class Curvature:
    """Hessian eigenvalues as Lanczos' iteration sees them: Ritz values ascending, an eigenvalue within `errors` of each.

    An error is the law `optimization.ritz_error` plus what rounding leaves. `exhausted` says that every distinct eigenvalue has
    been found; without it, the extremes may still lie further out than `smallest` and `largest`.
    """

    ritz_values: Float[Tensor, "k"]
    errors: Float[Tensor, "k"]
    exhausted: bool

    @property
    def largest(self) -> float:
        """The largest Ritz value: at most lambda_max."""
        return self.ritz_values[-1].item()

    @property
    def smallest(self) -> float:
        """The smallest Ritz value: at least lambda_min. Negative: the loss curves downwards somewhere, this is no minimum."""
        return self.ritz_values[0].item()

    @property
    def divergence_threshold(self) -> float:
        """The learning rate 2 / lambda_max beyond which gradient descent leaves such a minimum; inf if no curvature is positive."""
        return optimization.divergence_threshold("gradient", 0.0, self.largest) if self.largest > 0 else math.inf

    @property
    def condition_number(self) -> float:
        """lambda_max / lambda_min; inf unless the smallest is positive beyond its error."""
        return self.largest / self.smallest if self.convex else math.inf

    @property
    def convex(self) -> bool:
        """Whether the smallest Ritz value is positive beyond its error."""
        return self.ritz_values[0].item() > self.errors[0].item()

    def best(self, optimizer: str = "gradient") -> tuple[float, float, float]:
        """The best (learning rate, momentum) of an optimizer of `laws.optimization`, and the convergence that they give.

        Raises UsageError where the smallest eigenvalue is not positive: then no fixed setting converges in every direction.
        """
        if not self.convex:
            found = f"{self.smallest:.3g} ± {self.errors[0].item():.1g}"
            message = (
                f"the smallest curvature is {found}: a best learning rate needs positive ones; add a penalty, or use "
                f"divergence_threshold = {self.divergence_threshold:.3g}, which needs none"
            )
            raise UsageError(message)
        bounds = (self.smallest, self.largest)
        return *optimization.best_hyperparameters(optimizer, *bounds), optimization.best_convergence(optimizer, *bounds)


class HessianProduct:
    """The Hessian of a scalar loss by these parameters, as a map of flat vectors: `product(v)` is H v.

    `loss` is a scalar tensor with its graph, or a function without arguments that returns one; it is evaluated once, so a dropout
    mask stays the same for every product. `.grad` fields are left alone. Parameters that the loss does not use have rows of zeros.
    Raises UsageError for what cannot be differentiated twice.
    """

    def __init__(self, loss: Float[Tensor, ""] | Callable[[], Tensor], parameters: Iterable[Tensor]) -> None:
        self.parameters = [parameter for parameter in _listed(parameters) if parameter.requires_grad]
        _differentiable(self.parameters)
        with torch.enable_grad():
            value = loss if isinstance(loss, Tensor) else loss()
        _scalar(value)
        self.dtype = torch.promote_types(torch.float32, _widest(self.parameters))
        self.device = self.parameters[0].device
        self.sizes = [parameter.numel() for parameter in self.parameters]
        # A seed with a graph of its own: else a backward pass that cannot be differentiated looks like a linear loss.
        seed = torch.ones_like(value, requires_grad=True)
        try:
            gradients = torch.autograd.grad(value, self.parameters, seed, create_graph=True, allow_unused=True)
        except RuntimeError as error:
            raise UsageError(_not_twice(str(error))) from error
        self.used = [i for i, gradient in enumerate(gradients) if gradient is not None]
        self.gradients = [gradient for gradient in gradients if gradient is not None]
        if not self.used:
            message = "the loss uses none of these parameters: pass those of the model that it was computed with"
            raise UsageError(message)
        if _once_only(self.gradients):
            raise UsageError(_not_twice("an autograd.Function in it is marked once_differentiable"))

    def __call__(self, vector: Vector) -> Vector:
        """H v in the promoted dtype (float32 at least), one backward pass."""
        pieces = [
            piece.view_as(parameter).to(parameter)
            for piece, parameter in zip(torch.split(vector, self.sizes), self.parameters, strict=True)
        ]
        try:
            rows = torch.autograd.grad(
                self.gradients, self.parameters, [pieces[i] for i in self.used], retain_graph=True, materialize_grads=True
            )
        except RuntimeError as error:
            raise UsageError(_not_twice(str(error))) from error
        return torch.cat([row.to_dense().reshape(-1).to(device=self.device, dtype=self.dtype) for row in rows])


def _listed(parameters: Iterable[Tensor]) -> list[Tensor]:
    repair = "pass model.parameters(), or a list of tensors"
    if isinstance(parameters, nn.Module | Tensor) or not isinstance(parameters, Iterable):
        message = f"curvature is by a model's parameters, several tensors; one {type(parameters).__name__} came: {repair}"
        raise UsageError(message)
    listed = list(parameters)
    odd = [type(one).__name__ for one in listed if not isinstance(one, Tensor)]
    if odd:
        message = f"every parameter is a tensor; {odd[0]} came among them: {repair}"
        raise UsageError(message)
    return listed


def _differentiable(parameters: list[Tensor]) -> None:
    if not parameters:
        message = "no parameter requires a gradient: there is no Hessian; pass model.parameters() of a model that is not frozen"
        raise UsageError(message)
    odd = [parameter.dtype for parameter in parameters if not parameter.is_floating_point()]
    if odd:
        message = f"curvature needs real floating-point parameters; {odd[0]} came: view complex ones as real (torch.view_as_real)"
        raise UsageError(message)


def _scalar(value: Tensor) -> None:
    if not isinstance(value, Tensor) or value.numel() != 1:
        came = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        message = f"a loss is one number in a tensor; {came} came: reduce it, for example with .mean()"
        raise UsageError(message)
    if not value.requires_grad:
        message = "the loss does not depend on any parameter that requires a gradient (detached, .item(), or no_grad?)"
        raise UsageError(message)
    if not torch.isfinite(value):
        message = f"the loss is {value.item()}: curvature needs a finite one; `torchstone check` finds where it is born"
        raise UsageError(message)


def _widest(parameters: list[Tensor]) -> torch.dtype:
    dtype = parameters[0].dtype
    for parameter in parameters:
        dtype = torch.promote_types(dtype, parameter.dtype)
    return dtype


def _once_only(gradients: list[Tensor]) -> bool:
    """Whether a backward pass in these graphs is marked once_differentiable: autograd itself would pass over it in silence."""
    waiting = [gradient.grad_fn for gradient in gradients]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        if node.name() == "torch::autograd::Error":
            return True
        following = {after for after, _ in node.next_functions} - seen
        seen |= following
        waiting += following
    return False


def _not_twice(error: str) -> str:
    said = error.strip().splitlines()[0]
    return (
        f"this loss cannot be differentiated twice: {said}; give a loss that no backward pass has used, of operations with a "
        "second derivative: sdpa_kernel(SDPBackend.MATH) for attention, cudnn.flags(enabled=False) for an RNN; no torch.compile"
    )


def _rounding(scale: float, vector: Tensor) -> float:
    """What rounding may do to a Ritz value of this scale: a small multiple of sqrt(n) epsilon."""
    return scale * math.sqrt(len(vector)) * 8 * torch.finfo(vector.dtype).eps


def _image(image: Tensor, start: Tensor) -> Tensor:
    if not isinstance(image, Tensor) or image.shape != start.shape:
        came = f"shape {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        message = f"the product of the matrix with a vector has the vector's shape {tuple(start.shape)}; {came} came: give v -> A v"
        raise UsageError(message)
    return image


def lanczos(product: Callable[[Tensor], Tensor], start: Vector, iterations: int) -> Lanczos:
    """Lanczos' iteration with full reorthogonalisation: `product` is v -> A v, A symmetric (n x n), `start` any non-zero vector.

    Ends early when the Krylov space is invariant. Golub and Van Loan 2013, algorithm 10.1.1; every vector is orthogonalised twice
    against all before it, without which Ritz values repeat (Parlett 1998, section 6.9: twice is enough). Raises UsageError for a
    start or a product that is not finite, and for a product of another size.
    """
    norm = start.norm()
    if not torch.isfinite(norm) or norm == 0:
        message = f"Lanczos' iteration starts from a finite, non-zero vector; one of norm {norm.item()} came"
        raise UsageError(message)
    basis = start.new_zeros(max(1, min(iterations, len(start))), len(start))
    vector, scale, diagonal, norms, exhausted = start / norm, 0.0, [], [0.0], False
    for done in range(1, len(basis) + 1):
        basis[done - 1] = vector
        image = _image(product(vector), start)
        diagonal.append((vector @ image).item())
        scale = max(scale, abs(diagonal[-1]) + norms[-1])
        seen = basis[:done]
        for _ in range(2):
            image = image - (image @ seen.T) @ seen
        norms.append(image.norm().item())
        if not math.isfinite(norms[-1]) or not math.isfinite(diagonal[-1]):
            message = f"the product with a vector is not finite at iteration {done}: the loss has no second derivative here"
            raise UsageError(message)
        # Roundings have grown by every division since the start: a vector this small has little else in it.
        exhausted = done == len(start) or norms[-1] <= scale * torch.finfo(start.dtype).eps ** (2 / 3)
        if exhausted:
            break
        vector = image / norms[-1]
    numbers = torch.tensor([diagonal, norms[1:]], dtype=torch.float64)
    return Lanczos(numbers[0], numbers[1, :-1], norms[-1], exhausted, basis[: len(diagonal)])


def curvature(
    loss: Float[Tensor, ""] | Callable[[], Tensor],
    parameters: Iterable[Tensor],
    *,
    iterations: int = 32,
    generator: torch.Generator | None = None,
) -> Curvature:
    """The extreme eigenvalues of a loss's Hessian by these parameters, and what they say of learning rates.

    `loss` as in HessianProduct; `iterations` backward passes at most, from a normal start drawn from `generator` (by default one of
    its own, seed 0: the result repeats and no other draw changes). CPU and CUDA, float16 to float64; half precision computes the
    products in half and the rest in float32. Raises UsageError for what has no Hessian.

    >>> weight = torch.ones(3, dtype=torch.float64, requires_grad=True)
    >>> found = curvature((weight.square() * torch.tensor([0.5, 1.0, 5.0])).sum(), [weight])
    >>> [round(value, 6) for value in (found.smallest, found.largest, found.divergence_threshold)]
    [1.0, 10.0, 0.2]
    """
    if iterations < 1:
        message = f"one iteration or more is needed; {iterations} came"
        raise UsageError(message)
    product = HessianProduct(loss, parameters)
    drawn_from = generator or torch.Generator().manual_seed(0)
    start = torch.randn(sum(product.sizes), generator=drawn_from, dtype=product.dtype, device=drawn_from.device).to(product.device)
    found = lanczos(product, start, iterations)
    values, last = found.ritz()
    errors = (found.coupling * last).abs() + _rounding(values.abs().max().item(), start)
    return Curvature(values, errors, exhausted=found.exhausted)
