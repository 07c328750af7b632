"""Work, counted: one forward and backward pass of any model, its floating-point operations and its bytes.

Products count by the formulas of torch.utils.flop_counter; any other operation counts one for every number that it writes, and one
that only views its input counts nothing. So work is the same on every machine, and on fake tensors, which hold no numbers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from torchstone.core.errors import UsageError
from torchstone.parts.rematerialization.metering import Meter, storage_key
from torchstone.parts.rematerialization.within import workspace

Loss = Callable[[Any], Tensor]
_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001 - its name; torch's counter lacks it


def tensors(value: Any) -> list[Tensor]:
    """Every tensor in lists, dicts and what else torch takes apart."""
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def work(func: Any, args: Any, kwargs: Any, result: Any) -> int:
    """The work of one operation."""
    packet = func._overloadpacket  # noqa: SLF001
    if packet in flop_registry:
        return int(flop_registry[packet](*args, **kwargs, out_val=result))
    if packet is _ATTENTION:
        return int(sdpa_flop_count(*(one.shape for one in args[:3])))  # type: ignore[no-untyped-call]
    made = tensors(result)
    if not any(one.numel() for one in made):
        return 0
    given = {storage_key(one) for one in tensors([args, kwargs])} - {storage_key(one) for one in changed(func, args, kwargs)}
    return sum(one.numel() for one in made if storage_key(one) not in given)


def changed(func: Any, args: Any, kwargs: Any) -> Iterator[Tensor]:
    """The arguments that an operation writes to."""
    if not func._schema.is_mutable:  # noqa: SLF001
        return
    for place, argument in enumerate(func._schema.arguments):  # noqa: SLF001
        if argument.alias_info is not None and argument.alias_info.is_write:
            yield from tensors(args[place] if place < len(args) else kwargs.get(argument.name))


class Worker(Meter):  # type: ignore[no-untyped-call]
    """A meter that counts work too, and what kernels of products take for themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.work = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, then note what it made and how much work it was."""
        self.pulse(workspace(func, args, kwargs or {}))
        result = super().__torch_dispatch__(func, types, args, kwargs)
        done = work(func, args, kwargs or {}, result)
        self.work += done
        self.worked(done, list(changed(func, args, kwargs or {})))
        return result

    def worked(self, cost: int, written: Sequence[Tensor]) -> None:
        """An operation is over; it wrote to these of its arguments."""


@dataclass(frozen=True)
class Task:
    """What one pass is: a model called with inputs, and a loss of its output."""

    model: nn.Module
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    loss: Loss | None = None

    @property
    def known(self) -> list[Tensor]:
        """What is there before, with any schedule."""
        return [*self.model.parameters(), *self.model.buffers(), *tensors([list(self.args), dict(self.kwargs)])]

    def forward(self) -> tuple[Any, list[Tensor]]:
        """What the caller holds then, and what the backward pass begins with."""
        output = self.model(*self.args, **self.kwargs)
        value = output if self.loss is None else self.loss(output)
        begin = [one for one in tensors(value) if one.requires_grad]
        if self.loss is not None and not (isinstance(value, Tensor) and begin):
            message = f"loss must return a tensor that depends on the model's parameters; {type(value).__name__} came"
            raise UsageError(message)
        if not begin:
            message = (
                f"no output of {type(self.model).__name__} has a gradient, so that nothing is kept for a backward pass: "
                "plan where parameters or inputs require one"
            )
            raise UsageError(message)
        return (output, value), begin

    def backward(self, begin: Sequence[Tensor]) -> None:
        """The whole backward pass."""
        torch.autograd.backward(begin, [torch.ones_like(one) for one in begin])

    def gradients(self) -> list[Tensor]:
        """Those of parameters, which are there afterwards with any schedule."""
        return [one.grad for one in self.model.parameters() if one.grad is not None]
