"""The shared suite has teeth: a part broken on purpose fails the check that is there for it."""

import pytest
import torch
from jaxtyping import Float
from torch import Tensor, nn

from suites.part_suite import CHECKS, Row


class Doubled(nn.Module):
    """Twice a linear map; `broken` says how it is not."""

    def __init__(self, broken=""):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 2))
        self.broken = broken
        self.calls = 0
        if broken == "state":
            self.scale = 1 + torch.rand(()).item()
        if broken == "count":
            self.more = nn.Parameter(torch.zeros(1))

    def forward(self, x: Float[Tensor, "b 2"]) -> Float[Tensor, "b 3"]:
        if self.broken == "cost":
            x @ self.weight.t()
        if self.broken == "graph break":
            torch._dynamo.graph_break()
        if self.broken == "empty" and not len(x):
            return (x.sum() + self.weight.sum() * 0).expand(1, 3)
        if self.broken == "in place":
            x.data[:1] = 1.0
        if self.broken == "low precision":
            x = x.double().to(x.dtype) if x.dtype is torch.float64 else x * 1.5
        y = 2 * x @ self.weight.t()
        if self.broken == "backward":
            y = (x @ self.weight.t()).detach() + x @ self.weight.t()
        if self.broken == "count":
            y = y + self.more
        if self.broken == "device":
            y = y + torch.zeros(3, device="cpu")
        if self.broken == "shape":
            y = torch.cat([y, y[:1]])
        return {"forward": y + 1, "state": y * getattr(self, "scale", 1.0)}.get(self.broken, y)


class WronglyStated(Doubled):
    def forward(self, x: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3"]:
        return super().forward(x)


class NotStated(Doubled):
    def forward(self, x: Tensor) -> Float[Tensor, "b 3"]:
        return super().forward(x)


def row(broken="", public=Doubled):
    return Row(
        "doubled",
        public,
        lambda cls: cls(broken),
        lambda part: lambda x: torch.einsum("bi,oi->bo", x, part.weight) * 2 + 0 * sum(p.sum() for p in part.parameters()),
        lambda batch: [torch.randn(batch, 2, dtype=torch.float64)],
        lambda x: (x[0], 3),
        parameters=6,
        flops=2 * 2 * 2 * 3,
    )


CAUGHT = [
    ("forward", "equals_the_reference_forward_and_backward", "the output is off"),
    ("backward", "equals_the_reference_forward_and_backward", "gradient 1 is off"),
    ("in place", "equals_the_reference_forward_and_backward", "writes into its inputs"),
    ("backward", "gradcheck", "Jacobian mismatch"),
    ("shape", "shape_and_count_laws", "the law says"),
    ("count", "shape_and_count_laws", "7 parameters, the law says 6"),
    ("cost", "cost_law", "48 FLOP, the law says 24"),
    ("low precision", "lower_precisions", "is off"),
    ("empty", "empty_batch", "the output of an empty batch"),
    ("state", "state_dict_round_trip", "not the whole part"),
    ("graph break", "compiles", "graph_break"),
    ("device", "one_device", "same device"),
]


@pytest.mark.parametrize("name", [name for name in CHECKS if name != "cuda"])
def test_a_sound_part_passes(name):
    CHECKS[name](row())


@pytest.mark.parametrize(("broken", "name", "said"), CAUGHT)
def test_a_broken_part_fails(broken, name, said):
    with pytest.raises((AssertionError, RuntimeError), match=said):
        CHECKS[name](row(broken))


@pytest.mark.parametrize(("public", "said"), [(WronglyStated, "b 3"), (NotStated, r"\['x'\] are plain tensors")])
def test_annotations_must_be_there_and_true(public, said):
    with pytest.raises(Exception, match=said):
        CHECKS["annotations"](row(public=public))


def test_every_check_but_cuda_was_seen_to_fail():
    assert {name for _, name, _ in CAUGHT} | {"annotations", "cuda"} == set(CHECKS)


def test_a_row_cannot_do_without_a_check_that_is_not_there():
    with pytest.raises(AssertionError, match="gradchek"):
        Row("x", Doubled, None, None, None, None, without={"gradchek": "misspelt"})
