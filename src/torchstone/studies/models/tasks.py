"""Few-shot tasks in a small language model: one source file each, whose token after the next is asked for.

A window of the file, then END as the question; the answer is the second token behind the window. That is another loss than the
original one, which asks for the next token. The last block has the adapters, as only a model's top layers do where it is
large: what enters it is computed once a task. Axis letters: t tasks, n examples, s positions, d width, v vocabulary.
"""

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from torchstone.parts import MAML, add_lora
from torchstone.studies.data.docstrings import END
from torchstone.studies.models.language import LanguageModel, drawn

LENGTH, AHEAD, RANK = 24, 2, 4
_TARGETS = "blocks\\.{}\\.(query|key|value|out|up|down)"


@dataclass(frozen=True)
class Tasks:
    """t tasks: what enters the last block for n examples of each, the tokens that answer, and the windows themselves."""

    inputs: Float[Tensor, "t n s d"]
    answers: Int[Tensor, "t n"]
    rows: Int[Tensor, "t n s"]

    def split(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Support and query: inputs and answers of each."""
        half = self.inputs.shape[1] // 2
        return self.inputs[:, :half], self.answers[:, :half], self.inputs[:, half:], self.answers[:, half:]


class Top(nn.Module):
    """The last block and the head at the last position: what the tasks adapt."""

    head: Tensor

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.block, self.norm = model.blocks[-1], model.norm
        self.register_buffer("head", model.embedding.weight.detach())

    def forward(self, x: Float[Tensor, "n s d"]) -> Float[Tensor, "n v"]:
        """Logits of the answer."""
        return cast("Tensor", self.norm(self.block(x, last=True)[:, 0]) @ self.head.mT)


def with_adapters(model: LanguageModel, seed: int) -> LanguageModel:
    """Adapters beside the matrices of the last block; all else is frozen."""
    return cast("LanguageModel", drawn(lambda: add_lora(model, _TARGETS.format(len(model.blocks) - 1), RANK), seed))


@torch.no_grad()
def tasks_of(model: LanguageModel, files: Int[Tensor, "f n"], count: int, examples: int, source: torch.Generator) -> Tasks:
    """Tasks of one file each, drawn at random.

    The first half of the examples is from the file's first half, the rest from its second: no window is in both.
    """
    which = torch.randint(len(files), (count, 1, 1), generator=source)
    half = files.shape[1] // 2
    begin = torch.randint(half - LENGTH - AHEAD + 1, (count, examples), generator=source)
    begin += half * (torch.arange(examples) >= examples // 2)
    rows = files[which, begin.unsqueeze(-1) + torch.arange(LENGTH)].long()
    answers = files[which[..., 0], begin + LENGTH + AHEAD - 1].long()
    asked = torch.cat([rows, torch.full_like(rows[..., :1], END)], -1)
    return Tasks(model.entering(asked), answers, rows)


@torch.no_grad()
def after(maml: MAML, tasks: Tasks) -> tuple[dict[str, Tensor], float]:
    """Every task's factors behind the inner steps on its support, and the mean loss on its query data."""
    support, answers, query, asked = tasks.split()
    adapted = maml.adapt(support, answers)
    return adapted, maml.losses(adapted, query, asked).mean().item()


def learner(model: LanguageModel, rate: float, steps: int, *, first_order: bool = False) -> MAML:
    """MAML of the top's factors, which also says how well a start adapts, whoever made it."""
    return MAML(Top(model), functional.cross_entropy, inner_lr=rate, inner_steps=steps, first_order=first_order)
