"""A model run by a schedule of modules: on fake tensors, which take no memory, to measure it; on real ones, to see it is right."""

import copy
import ctypes
import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.utils._pytree import tree_map_only
from torch.utils.checkpoint import set_checkpoint_early_stop

from torchstone.core.errors import UsageError, told
from torchstone.laws.rematerialization.graph import Graph
from torchstone.parts.rematerialization.again import Again, Buffers, put, taken_off
from torchstone.parts.rematerialization.metering import storage_bytes
from torchstone.parts.rematerialization.observing import undisturbed
from torchstone.parts.rematerialization.tracing import trace
from torchstone.parts.rematerialization.working import Task, Worker, tensors


@dataclass
class Bench:
    """One pass of a model, to be measured by any schedule; `mode` is around everything that runs."""

    task: Task
    buffers: Sequence[str]
    mode: AbstractContextManager[Any]
    known: dict[frozenset[str], tuple[int, int]] = field(default_factory=dict)

    def trace(self) -> Graph:
        """What happens in one pass."""
        with self.mode:
            return trace(self.task)

    def measure(self, modules: Collection[str]) -> tuple[int, int]:
        """The peak of a pass that runs these modules again, in bytes, and its extra work."""
        peak, done = self._run(frozenset(modules))
        return peak, done - self._run(frozenset())[1]

    def _run(self, modules: frozenset[str]) -> tuple[int, int]:
        if modules not in self.known:
            self.known[modules] = self._passed(modules)
        return self.known[modules]

    def _passed(self, modules: frozenset[str]) -> tuple[int, int]:
        with self.mode, undisturbed(self.task.model), Worker() as meter:
            meter.ignore(self.task.known)
            with running_again(self.task.model, modules, self.buffers, partial(_Counted, meter=meter, state=self.state)):
                output, begin = self.task.forward()
                self.task.backward(begin)
            gradients = meter.numbers(self.task.gradients())
            peak, done = meter.peak(0, gradients), meter.work
            del output, begin
        return peak, done

    @property
    def state(self) -> int:
        """Bytes of random numbers' state that torch's checkpoint keeps for a call, beside the model's own memory on a CPU."""
        return storage_bytes(torch.get_rng_state()) if all(one.device.type == "cpu" for one in self.task.known) else 0


class _Counted(Again):
    """The state of random numbers, which no operation makes, is counted as long as it is kept."""

    def __init__(self, module: nn.Module, buffers: Buffers, meter: Worker, state: int) -> None:
        super().__init__(module, buffers, training=module.training)
        self.meter, self.state = meter, state

    def contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """These live as long as what the checkpoint keeps."""
        first, second = super().contexts()
        self.meter.hold(second, self.state)
        return first, second


@contextmanager
def running_again(
    model: nn.Module, modules: Collection[str], buffers: Sequence[str], make: Callable[[nn.Module, Buffers], Again]
) -> Iterator[None]:
    """For a while."""
    try:
        put(model, sorted(modules), buffers, make)
        yield
    finally:
        taken_off(model, sorted(modules))


def bench(task: Task, buffers: Sequence[str]) -> tuple[Bench, Graph]:
    """A copy of the model without numbers, if it runs so, else the model itself; and its graph.

    Raises UsageError if it does not run.
    """
    with suppress(Exception):
        mode = FakeTensorMode(allow_non_fake_inputs=True)
        with FakeCopyMode(mode):
            model = copy.deepcopy(task.model)
        args, kwargs = tree_map_only(Tensor, mode.from_tensor, (tuple(task.args), dict(task.kwargs)))
        pretended = Bench(Task(model, args, kwargs, task.loss), buffers, mode)
        return pretended, pretended.trace()
    real = Bench(task, buffers, nullcontext())
    try:
        return real, real.trace()
    except UsageError:
        raise
    except Exception as error:
        message = f"the model cannot be run forwards and backwards on these inputs: {told(error)}"
        raise UsageError(message) from error


class _Checked(Again):
    """Whether a call that runs again returns the same as the first time, bit for bit."""

    def __init__(self, module: nn.Module, buffers: Buffers, wrong: dict[nn.Module, str]) -> None:
        super().__init__(module, buffers, training=module.training)
        self.wrong = wrong

    def watched(self, inside: Callable[..., Any]) -> Callable[..., Any]:
        """The first run's result is remembered by a digest."""
        first: list[list[bytes]] = []

        def run(*given: Tensor) -> Any:
            try:
                output = inside(*given)
            except Exception as error:
                if first:
                    self.wrong.setdefault(self.module, f"it fails when it runs again: {told(error)}")
                raise
            now = [_digest(one) for one in tensors(output)]
            if first and first[0] != now:
                self.wrong.setdefault(self.module, "it does not compute the same when it runs again")
            first.append(now)
            return output

        return run


def _digest(tensor: Tensor) -> bytes:
    """What the numbers are, in 16 bytes."""
    with torch.no_grad():
        dense = tensor.detach() if tensor.layout is torch.strided else tensor.detach().to_dense()
        here = dense.resolve_conj().resolve_neg().cpu().contiguous()
    data = (ctypes.c_char * (here.numel() * here.element_size())).from_address(here.data_ptr()) if here.numel() else b""
    return hashlib.blake2b(data, digest_size=16).digest()


def faults(task: Task, modules: Collection[str], buffers: Sequence[str]) -> dict[str, str]:
    """The modules of a schedule that do not compute the same when they run again, and why: one real pass by the schedule.

    Raises UsageError if the pass fails and no module is to blame.
    """
    wrong: dict[nn.Module, str] = {}
    with undisturbed(task.model), set_checkpoint_early_stop(False):
        try:
            with running_again(task.model, modules, buffers, partial(_Checked, wrong=wrong)):
                output, begin = task.forward()
                task.backward(begin)
                del output, begin
        except Exception as error:
            if not wrong:
                message = f"the model cannot be run by the schedule that was found: {told(error)}"
                raise UsageError(message) from error
    return {name: wrong[module] for name, module in task.model.named_modules() if module in wrong}


def moved(task: Task) -> tuple[str, ...]:
    """The buffers that a forward pass changes (running statistics). Raises UsageError if the model does not run."""
    model = task.model
    if any(one.is_meta for one in task.known):
        return tuple(name for name, _ in model.named_buffers())
    before = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    try:
        with undisturbed(model), torch.no_grad():
            model(*task.args, **task.kwargs)
            return tuple(name for name, buffer in model.named_buffers() if not _same(buffer, before.get(name)))
    except Exception as error:
        message = f"the model cannot be run on these inputs: {told(error)}"
        raise UsageError(message) from error


def _same(one: Tensor, other: Tensor | None) -> bool:
    return other is not None and one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())
