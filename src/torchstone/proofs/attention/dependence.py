"""Attention of torch by what its output's gradient reaches: later positions, padded ones. Axis letters: t positions, d features."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from torchstone.core.evidence import Evidence
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held

Attend = Callable[..., Tensor]


def _rows(x: Tensor) -> Tensor:
    return x[None, None]


def attend(x: Tensor, *, causal: bool) -> Tensor:
    """Self-attention over (t, d), causal or not."""
    return functional.scaled_dot_product_attention(_rows(x), _rows(x), _rows(x), is_causal=causal)[0, 0]


def _with_mask(x: Tensor, seen: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(_rows(x), _rows(x), _rows(x), attn_mask=seen)[0, 0]


def _triangle(x: Tensor, diagonal: int = 0) -> Tensor:
    return torch.ones(len(x), len(x), dtype=torch.bool).tril(diagonal)


def _masked_after(x: Tensor, *, causal: bool) -> Tensor:
    """Cut after the soft-max: the denominator still reads every position."""
    weights: Tensor = (x @ x.T * float(len(x[0])) ** -0.5).softmax(-1)
    return (weights * _triangle(x) if causal else weights) @ x


def _reached(output: Tensor, x: Tensor) -> Tensor:
    """Which positions of x an output depends on."""
    (gradient,) = torch.autograd.grad(output.sum(), x)
    return gradient.abs().amax(1) > 0


@experiment(
    "attention.future_dependence",
    part=attend,
    mutants={
        "no mask": lambda x, **_: attend(x, causal=False),
        "mask off by one": lambda x, *, causal: _with_mask(x, _triangle(x, 1)) if causal else attend(x, causal=False),
        "mask inverted": lambda x, *, causal: _with_mask(x, ~_triangle(x, -1)) if causal else attend(x, causal=False),
        "cut after the soft-max": _masked_after,
        "always causal": lambda x, **_: attend(x, causal=True),
    },
    how="exact: non-zero gradients",
)
def future_dependence(part: Attend, draws: Draws) -> Iterator[Evidence]:
    """Every position of lengths 1 to 7."""
    for length in range(1, 8):
        for causal in (True, False):
            x = draws.normal(length, 4).requires_grad_()
            for position in range(length):
                output = part(x, causal=causal)[position] * draws.normal(4)
                later = int(_reached(output, x)[position + 1 :].sum())
                yield held("attention.future_dependence", {"positions": length, "position": position, "causal": causal}, later)


def attend_masked(x: Tensor, padding: Tensor) -> Tensor:
    """Self-attention over (t, d) that leaves out keys where `padding` is True."""
    return _with_mask(x, ~padding[None, :].expand(len(x), -1))


def _queries_masked(x: Tensor, padding: Tensor) -> Tensor:
    """The mask on the wrong axis: it levels rows instead of leaving out keys."""
    scores = (x @ x.T).masked_fill(padding[:, None], -1e9)
    return scores.softmax(-1) @ x


@experiment(
    "attention.padding_dependence",
    part=attend_masked,
    mutants={
        "no mask": lambda x, padding: attend_masked(x, padding & False),
        "mask inverted": lambda x, padding: attend_masked(x, ~padding),
        "mask on the queries": _queries_masked,
        "one position short": lambda x, padding: attend_masked(x, padding & padding.roll(1)),
        "values set to 0 and scores kept": lambda x, padding: (x @ x.T).softmax(-1) @ x.masked_fill(padding[:, None], 0.0),
    },
    how="exact: non-zero gradients",
)
def padding_dependence(part: Attend, draws: Draws) -> Iterator[Evidence]:
    """One to five padded positions behind one to five others; read at the first."""
    for real in range(1, 6):
        for padded in range(1, 6):
            x = draws.normal(real + padded, 3).requires_grad_()
            padding = torch.arange(real + padded) >= real
            read = int(_reached(part(x, padding)[0] * draws.normal(3), x)[real:].sum())
            yield held("attention.padding_dependence", {"padded": padded}, read)
