"""Lanczos' iteration on the losses of real models, against their dense Hessians."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from torchstone.core.evidence import Evidence, Relation
from torchstone.parts.optimization import HessianProduct, Lanczos, lanczos
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

Product = Callable[[Tensor], Tensor]
Iterate = Callable[[Product, Tensor, int], Lanczos]


def models(draws: Draws) -> Iterator[tuple[HessianProduct, Tensor]]:
    """Hessian products of a classifier, a regression and a convolution with random weights, and their dense Hessians."""
    shapes = (
        (nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)), (12, 3), nn.functional.cross_entropy),
        (nn.Linear(5, 2), (9, 5), lambda found, _: found.square().mean()),
        (nn.Sequential(nn.Conv1d(1, 2, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(6, 2)), (7, 1, 5), nn.functional.cross_entropy),
    )
    for model, shape, criterion in shapes:
        parameters = list(model.double().parameters())
        for parameter in parameters:
            parameter.data = draws.normal(*parameter.shape)
        inputs, labels = draws.normal(*shape), torch.randint(2, shape[:1], generator=draws.generator)
        yield HessianProduct(criterion(model(inputs), labels), parameters), _dense(model, inputs, labels, criterion)


def _dense(model: nn.Module, inputs: Tensor, labels: Tensor, criterion: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The whole Hessian by torch.func, from a loss of flat parameters: another way than the part's."""
    named = {name: parameter.detach() for name, parameter in model.named_parameters()}

    def loss(flat: Tensor) -> Tensor:
        pieces = torch.split(flat, [tensor.numel() for tensor in named.values()])
        given = {name: piece.view_as(tensor) for (name, tensor), piece in zip(named.items(), pieces, strict=True)}
        return criterion(torch.func.functional_call(model, given, (inputs,)), labels)

    return torch.func.jacrev(torch.func.jacrev(loss))(torch.cat([tensor.reshape(-1) for tensor in named.values()]))  # type: ignore[no-any-return]


def _changed(change: Callable[[Product], Product]) -> Iterate:
    return lambda product, start, iterations: lanczos(change(product), start, iterations)


def _unsettled(product: Product, start: Tensor, iterations: int) -> Lanczos:
    """The norm left to go on with, forgotten."""
    return replace(lanczos(product, start, iterations), coupling=0.0)


def _uncoupled(product: Product, start: Tensor, iterations: int) -> Lanczos:
    """Off-diagonal entries squared: the norms before their root."""
    found = lanczos(product, start, iterations)
    return replace(found, off_diagonal=found.off_diagonal.square())


def _symmetrised(product: Product, start: Tensor, iterations: int) -> Lanczos:
    """A triangle and its transpose added: the diagonal counts twice."""
    found = lanczos(product, start, iterations)
    return replace(found, diagonal=2 * found.diagonal)


def _relentless(product: Product, start: Tensor, iterations: int) -> Lanczos:
    """An invariant space is not noticed: rounding is taken for a direction."""
    del iterations
    return lanczos(lambda vector: product(vector) + 1e-9 * vector.flip(0), start, len(start))


@experiment(
    "optimization.ritz_range",
    part=lanczos,
    mutants={
        "the sum over rows, not the mean": _changed(lambda product: lambda vector: 12 * product(vector)),
        "a descent direction's sign": _changed(lambda product: lambda vector: -product(vector)),
        "the diagonal twice": _symmetrised,
    },
    how="random starts on real models, every number of iterations",
)
def inside(part: Iterate, draws: Draws) -> Iterator[Evidence]:
    """Extreme Ritz values after 1, 2, ... iterations against the dense Hessian's eigenvalues."""
    for product, dense in models(draws):
        exact = torch.linalg.eigvalsh(dense)
        allowed = rounding(8 * len(exact), exact.abs().max().item())
        for iterations in range(1, len(exact) + 1):
            values, _ = part(product, draws.normal(len(exact)), iterations).ritz()
            found = [values[-1].item(), -values[0].item()]
            yield held("optimization.ritz_range", {"eigenvalues": exact.tolist()}, found, allowed, Relation.AT_MOST)


@experiment(
    "optimization.ritz_error",
    part=lanczos,
    mutants={
        "off-diagonal entries squared": _uncoupled,
        "the norm left is forgotten": _unsettled,
        "products scaled": _changed(lambda product: lambda vector: 12 * product(vector)),
    },
    how="random starts on real models, every number of iterations",
)
def near(part: Iterate, draws: Draws) -> Iterator[Evidence]:
    """How far each Ritz value lies from the nearest of the dense Hessian's eigenvalues."""
    for product, dense in models(draws):
        exact = torch.linalg.eigvalsh(dense)
        allowed = rounding(8 * len(exact), exact.abs().max().item())
        for iterations in range(1, len(exact) + 1, 3):
            found = part(product, draws.normal(len(exact)), iterations)
            values, last = found.ritz()
            distances = (values[:, None] - exact).abs().amin(1)
            for distance, component in zip(distances.tolist(), last.tolist(), strict=True):
                given = {"coupling": found.coupling, "last_component": component}
                yield held("optimization.ritz_error", given, distance, allowed, Relation.AT_MOST)


@experiment(
    "optimization.lanczos_iterations",
    part=lanczos,
    mutants={
        "an invariant space is not noticed": _relentless,
        "one iteration for each parameter": lambda product, start, _: lanczos(
            lambda vector: product(vector) + torch.linspace(0, 1, len(start), dtype=start.dtype) * vector, start, len(start)
        ),
    },
    how="exact, quadratic losses of known eigenvalues",
)
def ends(part: Iterate, draws: Draws) -> Iterator[Evidence]:
    """Losses x'Hx/2 with repeated eigenvalues in a random basis: products by two backward passes through autograd."""
    for size, distinct in ((4, 1), (6, 2), (12, 5), (30, 9), (7, 7)):
        levels = draws.uniform(-1, 1, distinct) + 3 * torch.arange(distinct)
        eigenvalues = levels[torch.arange(size) % distinct]
        basis, _ = torch.linalg.qr(draws.normal(size, size))
        point = draws.normal(size).requires_grad_()
        rotated = basis.T @ point
        product = HessianProduct((eigenvalues * rotated.square()).sum() / 2, [point])
        found = part(product, draws.normal(size), size)
        yield held("optimization.lanczos_iterations", {"eigenvalues": eigenvalues.tolist()}, len(found.diagonal))
