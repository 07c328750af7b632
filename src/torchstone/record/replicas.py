"""Data parallelism: what one rank holds at a step, as digests that are compared after the run. Nothing is sent meanwhile."""

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from torchstone.core.events import ReplicaState
from torchstone.core.place import NOWHERE, Place
from torchstone.record import measure
from torchstone.record.digest import digest, read
from torchstone.record.gradients import Followed
from torchstone.record.models import Models
from torchstone.record.source import user_place

_PIECES = 128  # of one optimizer's parameters: digests of more of them are joined
_SAMPLE = 1024  # elements of a parameter that are followed at every step
_PENDING = 16  # digests that lie on a device before they are read together
_KEPT = 512


@dataclass
class Trace:
    """A few elements of an optimizer's parameters at every step: whether ranks that part meet again."""

    steps: list[int] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    waiting: list[Tensor] = field(default_factory=list)

    def read(self) -> None:
        """Read what still lies on the device."""
        self.values.extend(read(self.waiting))
        self.waiting.clear()
        del self.steps[:-_KEPT], self.values[:-_KEPT]

    def take(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Steps and digests since the last time."""
        self.read()
        taken = tuple(self.steps), tuple(self.values)
        self.steps, self.values = [], []
        return taken


class Replicas:
    """Which parameters a data-parallel wrapper keeps equal, and on which ranks. Holds no strong reference to them."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self.rank, self.world = 0, 1
        self._wrappers = 0
        self._newest: weakref.ref[DistributedDataParallel] | None = None
        self._place = NOWHERE
        self._unread: list[weakref.ref[DistributedDataParallel]] = []
        self._wrapped: dict[int, tuple[weakref.ref[Tensor], tuple[int, ...]]] = {}
        self._traces: dict[int, Trace] = {}

    def at_work(self) -> bool:
        """Whether this process is one of several ranks."""
        if self.world > 1:
            return True
        if distributed.is_available() and distributed.is_initialized():
            self.rank, self.world = distributed.get_rank(), distributed.get_world_size()
        return self.world > 1

    def module_registered(self, parent: object, name: str) -> None:
        """A wrapper takes its model in; it is read when it is whole, at the next step."""
        if name == "module" and isinstance(parent, DistributedDataParallel):
            self._wrappers += 1
            self._newest = weakref.ref(parent)
            self._unread.append(self._newest)
            self._place = self._place or user_place(3)

    def _read_wrappers(self) -> None:
        for wrapper in (one for reference in self._unread if (one := reference()) is not None):
            ranks = tuple(distributed.get_process_group_ranks(wrapper.process_group))
            ignored = set(wrapper.parameters_to_ignore)
            for name, parameter in wrapper.module.named_parameters():
                if parameter.requires_grad and name not in ignored:
                    self._wrapped[id(parameter)] = (weakref.ref(parameter), ranks)
        self._unread.clear()

    def _hook(self) -> str:
        """What averages gradients by the script's choice."""
        newest = self._newest() if self._newest is not None else None
        hooks = getattr(newest, "_comm_hooks", None) or [(None,)]
        hook = hooks[-1][0]
        return "" if hook is None else str(getattr(hook, "__name__", type(hook).__name__))

    def _ranks_of(self, parameter: Tensor) -> tuple[int, ...]:
        known = self._wrapped.get(id(parameter))
        return known[1] if known is not None and known[0]() is parameter else ()

    def _groups(self, optimizer: torch.optim.Optimizer, reached: set[int]) -> dict[tuple[int, ...], list[Tensor]]:
        """Trainable parameters by the ranks that must hold the same; () for those of no wrapper."""
        found: dict[tuple[int, ...], list[Tensor]] = {}
        for parameter in (p for group in optimizer.param_groups for p in group["params"] if p.requires_grad):
            ranks = self._ranks_of(parameter)
            # An optimizer's own flat copies are in no module, and no gradient reaches them: they may be one rank's share.
            if ranks or self._models.is_registered(parameter) or self._models.number(parameter) in reached:
                found.setdefault(ranks, []).append(parameter)
        return found

    def step_begins(self, followed: Followed, step: int) -> None:
        """At every step: a digest of a few elements, of the first and the last parameter."""
        self._read_wrappers()
        optimizer, trace = followed.optimizer(), self._traces.setdefault(followed.number, Trace())
        if optimizer is None:
            return
        given = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad and _whole(p)]
        chosen = [p for p in given if self._ranks_of(p)] or given
        if not chosen:
            return
        with measure.unseen():
            one, other = (digest(p.detach().flatten()[:_SAMPLE]) for p in (chosen[0], chosen[-1]))
            trace.steps.append(step)
            trace.waiting.append(one * 31 + other.to(one.device))
            if len(trace.waiting) >= _PENDING:
                trace.read()

    def states(
        self, followed: Followed, step: int, place: Place, reached: set[int], *, final: bool = False
    ) -> Iterator[ReplicaState]:
        """What this rank holds now."""
        optimizer = followed.optimizer()
        if optimizer is None or (final and not followed.steps):
            return
        newest = self._newest() if self._newest is not None else None
        groups = self._groups(optimizer, reached)
        if not groups:
            yield ReplicaState(step, self.rank, followed.number, tuple(range(self.world)), place=place, sharded=True, final=final)
        steps, recent = self._traces.setdefault(followed.number, Trace()).take()
        for ranks, parameters in groups.items():
            size = -(-len(parameters) // _PIECES)
            pieces = [parameters[start : start + size] for start in range(0, len(parameters), size)]
            whole = all(map(_whole, parameters))
            with measure.unseen():
                digests = _digests([[p.detach() for p in piece] for piece in pieces]) if whole else ()
                gradients = _digests([[p.grad for p in piece if p.grad is not None] for piece in pieces]) if whole else ()
            yield ReplicaState(
                step, self.rank, followed.number, ranks or tuple(range(self.world)),
                tuple(n if (n := self._models.number(piece[0])) is not None else -1 for piece in pieces),
                digests, gradients, self._place if ranks else place,
                wrapped=bool(ranks), wrappers=self._wrappers,
                called=newest is not None and self._models.ran_with_gradients(newest),
                syncs=newest is None or bool(newest.require_forward_param_sync), hook=self._hook() if ranks else "",
                sharded=not whole, at=steps, recent=recent, final=final,
            )


def _whole(parameter: Tensor) -> bool:
    """Whether a rank holds all of a parameter, as far as its type tells."""
    return measure.is_plain(parameter) and not parameter.is_sparse and not getattr(parameter, "_fsdp_flattened", False)


def _digests(pieces: list[list[Tensor]]) -> tuple[int, ...]:
    joined = []
    for piece in pieces:
        usable = [digest(tensor) for tensor in piece if measure.is_plain(tensor) and not tensor.is_sparse]
        total = torch.zeros(2, dtype=torch.int64, device=usable[0].device if usable else None)
        for one in usable:
            total = total * 31 + one.to(total.device)
        joined.append(total)
    return tuple(read(joined))
