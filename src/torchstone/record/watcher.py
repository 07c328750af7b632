"""The watcher: what the hooks call, in the order in which training happens. Nothing here may disturb the script."""

import functools
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Concatenate, ParamSpec

import torch
from torch import Tensor, nn

from torchstone.core.events import (
    BackwardCalled,
    Event,
    FaultRecorded,
    LossComputed,
    NonFiniteSeen,
    OperationCount,
    PhaseSeen,
    RunEnded,
)
from torchstone.core.place import NOWHERE, Place
from torchstone.core.steps import ParametersExamined, StepTaken
from torchstone.record import graph, measure, settings
from torchstone.record.clipping import Clipping
from torchstone.record.describe import loss as describe_loss
from torchstone.record.gradients import Optimizers, examine
from torchstone.record.intervention import Intervention
from torchstone.record.models import Models
from torchstone.record.modes import Modes
from torchstone.record.replicas import Replicas
from torchstone.record.schedules import Schedules
from torchstone.record.source import name_of, user_place
from torchstone.record.writer import Writer

P = ParamSpec("P")
_FAULT_LIMIT = 5
_LOSSES_A_STEP = 32
_PENDING = 16
_OPERATIONS = 60  # kinds of operations noted of a graph, the most frequent first
_LEAVES_UNTIL = 2  # what lies outside every model's tree is there from the start; the walk is not free


class StopWatching(BaseException):
    """Raised out of an optimizer step to end the script when enough was seen. No `except Exception` catches it."""


def guarded(handler: Callable[Concatenate["Watcher", P], None]) -> Callable[Concatenate["Watcher", P], None]:
    """Run a handler only in the watched thread and process; a fault of ours is noted and never reaches the script."""

    @functools.wraps(handler)
    def run(watcher: "Watcher", /, *arguments: P.args, **named: P.kwargs) -> None:
        if not watcher.is_here() or not measure.may_measure():
            return
        try:
            if torch._C._len_torch_function_stack():  # noqa: SLF001 - our own reads are no operations of the user's
                with torch._C.DisableTorchFunction():  # noqa: SLF001
                    handler(watcher, *arguments, **named)
            else:
                handler(watcher, *arguments, **named)
        except Exception as error:  # noqa: BLE001 - the one place where swallowing is the promise
            watcher.fault(handler.__name__, error)

    return run


class Watcher:
    """State of one watched run."""

    def __init__(
        self, writer: Writer, *, steps: int | None = None, seconds: float | None = None, interventions: Sequence[Intervention] = ()
    ) -> None:
        self.writer = writer
        self.step_limit, self.second_limit = steps, seconds
        self.interventions = tuple(interventions)
        self.models = Models()
        self.optimizers = Optimizers(self.models)
        self.replicas = Replicas(self.models)
        self.modes, self.clipping, self.schedules = Modes(self.models), Clipping(self), Schedules(self)
        self.began = time.perf_counter()
        self.step = 0
        self.backward_passes = 0
        self.deep = True
        self.in_backward = self.recomputed = False
        self.stopped = ""
        self.depth = 0
        self._thread, self._process = threading.get_ident(), os.getpid()
        self._stepping: list[int] = []
        self._tokens: list[tuple[Tensor, int | None]] = []
        self._losses = 0
        self.training = True
        self.scaled = False  # a gradient scaler is at work: it overflows on purpose and skips those steps itself
        self._phases: set[tuple[int, bool, bool]] = set()
        self.root: Tensor | None = None
        self._root: Tensor | float | None = None
        self._backward_place = NOWHERE
        self._leaves: list[Tensor] = []
        self._randomness: tuple[Tensor, ...] = ()
        self._reached: set[int] = set()
        self._pending: list[tuple[int, int, float, Tensor | float | None]] = []
        self._non_finite = False
        self._suspect: NonFiniteSeen | None = None
        self._suspect_is_last = False
        self._faults = 0

    # What every handler needs.

    def is_here(self) -> bool:
        """Whether this is the thread and process that the script runs in, and watching goes on."""
        return threading.get_ident() == self._thread and self._faults < _FAULT_LIMIT and os.getpid() == self._process

    def emit(self, events: Iterable[Event]) -> None:
        """Write events down."""
        for event in events:
            self.writer.add(event)

    def fault(self, where: str, error: BaseException) -> None:
        """Note a fault of ours; after a few of them watching ends and the script goes on alone."""
        self._faults += 1
        self.writer.add(FaultRecorded(where, f"{type(error).__name__}: {error}"[:300], self.step), always=True)

    # Modules.

    @guarded
    def before_forward(self, module: nn.Module) -> None:
        """A module is about to run (sampled steps only: the hook asks)."""
        if self.in_backward:
            return  # a checkpoint's recomputation, no call of the user's
        self.depth += 1
        if self.depth == 1:
            self._called_from_outside(module)
        self.models.ran(module, gradients=torch.is_grad_enabled())

    def _called_from_outside(self, module: nn.Module) -> None:
        if not self.models.is_known(module):
            self.emit(self.models.see(module, self.step))
            for intervention in self.interventions:
                intervention.model_seen(self)
        self._note_phase(module)

    @guarded
    def mode_differs(self, module: nn.Module) -> None:
        """Between sampled steps: a model runs in another mode than the last one did, or not as in training."""
        if not self.in_backward:
            self._note_phase(module)

    def _note_phase(self, module: nn.Module) -> None:
        phase = (self.models.number_of(module), module.training, torch.is_grad_enabled())
        if phase[0] >= 0:
            self.training = module.training
            self.modes.ran(phase[0], module, self.step)
            if phase not in self._phases:
                self._phases.add(phase)
                self.emit([PhaseSeen(*phase, self.step, user_place(4))])

    def _phase(self) -> str:
        return ("train" if self.training else "eval") + ("" if torch.is_grad_enabled() else ", no_grad")

    def after_forward(self) -> None:
        """A module has run (sampled steps only)."""
        if self.depth and not self.in_backward and self.is_here():
            self.depth -= 1

    # Losses.

    @guarded
    def tokens_embedded(self, tokens: object, matrix: object) -> None:
        """An embedding looked tokens up; a loss later in the step may be over the same vocabulary."""
        if measure.is_plain(tokens) and len(self._tokens) < _LOSSES_A_STEP:
            number = self.models.number(matrix) if isinstance(matrix, Tensor) else None
            self._tokens.append((tokens.detach(), number))  # type: ignore[attr-defined]

    @guarded
    def loss_computed(self, function: str, arguments: tuple[object, ...], options: dict[str, object], result: object) -> None:
        """A loss function returned."""
        if self._losses >= _LOSSES_A_STEP:
            return
        names = ("input", "target")
        given = {**dict(zip(names, arguments, strict=False)), **options}
        prediction, target = given.get("input"), given.get("target")
        if not (isinstance(prediction, Tensor) and isinstance(target, Tensor)):
            return
        if not (measure.is_plain(prediction) and measure.is_plain(target)):
            return
        self._losses += 1
        if not (torch.is_grad_enabled() and prediction.requires_grad):
            self.emit([LossComputed(function, self.step, self._phase(), user_place(3), loss=measure.scalar(result))])
            return
        with measure.unseen():
            call = describe_loss.Call(function, prediction, target, options, self._tokens)
            fields = describe_loss.describe(call)
        if fields is not None:
            head = graph.head_of(prediction, describe_loss.outputs(prediction, fields))
            if head is not None and self.models.number(head) is None:  # weights that are in no module
                self.emit(self.models.learn([(head, (name_of(head, 3) or "weight",))], -1, "free", self.step))
            fields["head"] = self.models.number(head) if head is not None else None
            place = user_place(3)
            value = measure.scalar(result)
            event = LossComputed(function, self.step, self._phase(), place, loss=value, **fields)  # type: ignore[arg-type]
            self.writer.add(event, always=self.step == 0)

    # Backward passes.

    @guarded
    def before_backward(self, roots: object) -> None:
        """A backward pass is about to begin."""
        self.backward_passes += 1
        root = roots[0] if isinstance(roots, list | tuple) and roots else roots
        self._root = self._value(root)
        self._suspect_root()
        self.root = root if isinstance(root, Tensor) else None
        try:
            for intervention in self.interventions:
                intervention.before_backward(self)
        finally:
            self.root = None  # the graph of the user's loss must not live longer for having been seen
        if self.deep:
            self._backward_place = user_place(3)
            for followed in self.optimizers.all():
                followed.backward_begins(self._backward_place)
        if self.deep and isinstance(root, Tensor):
            operations: Counter[str] = Counter()
            if self.step <= _LEAVES_UNTIL:
                self._leaves.extend(graph.leaves(root, operations).values())
            value = self._root if isinstance(self._root, float) else None
            counted = tuple(OperationCount(*item) for item in operations.most_common(_OPERATIONS))
            drawn = measure.has_drawn(self._randomness)
            self.emit([BackwardCalled(self.step, self._backward_place, value, counted, drawn)])

    @guarded
    def nested_backward(self, roots: object) -> None:
        """A backward pass inside another: of a part that was run again. No loss is its root; what it reaches counts."""
        for root in roots if self.step <= _LEAVES_UNTIL and isinstance(roots, list | tuple) else ():
            self._leaves.extend(graph.leaves(root).values())

    def _value(self, root: object) -> Tensor | float | None:
        if not (isinstance(root, Tensor) and measure.is_plain(root)) or root.numel() != 1:
            return None
        # Reading a number from a device waits for it: there it is kept and read later, many at once.
        return float(root.detach()) if root.device.type == "cpu" else root.detach().clone()

    def _suspect_root(self) -> None:
        """A loss that is not finite does harm only if a step uses it: scripts skip such steps, scalers do."""
        value = self._root
        if isinstance(value, float) and value - value != 0 and not self.scaled and not self._non_finite:
            self._suspect = NonFiniteSeen(self.step, "loss", "", value, user_place(4))
            self._suspect_is_last = True
        else:
            self._suspect_is_last = False

    def _resolve_suspect(self, optimizer: torch.optim.Optimizer) -> None:
        """At a step: the loss just seen is used by it; one seen earlier was skipped, unless it is still in the gradients."""
        suspect, self._suspect = self._suspect, None
        if suspect is None or self._non_finite:
            return
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        with measure.unseen():
            norms = measure.norms([gradient for gradient in gradients if measure.is_plain(gradient)])
        if self._suspect_is_last or any(norm - norm != 0 for norm in norms):
            self._non_finite = True
            self.writer.add(suspect, always=True)

    def _finite(self, value: float, step: int, what: str, name: str, place: Place) -> None:
        if value - value == 0 or self._non_finite:
            return
        self._non_finite = True
        self.writer.add(NonFiniteSeen(step, what, name, value, place), always=True)

    # Steps.

    @guarded
    def optimizer_built(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer has been given its parameters."""
        self.optimizers.built.append(weakref.ref(optimizer))
        self.optimizers.made.set(optimizer, settings.made())
        for intervention in self.interventions:
            intervention.optimizer_built(self, optimizer)

    @guarded
    def before_step(self, optimizer: torch.optim.Optimizer, *, with_closure: bool) -> None:
        """An optimizer is about to step."""
        key = id(optimizer)
        if key in self._stepping:  # left over from a step that raised
            del self._stepping[self._stepping.index(key) :]
        self._stepping.append(key)
        if len(self._stepping) == 1:
            if self._suspect is not None:
                self._resolve_suspect(optimizer)
            for intervention in self.interventions:
                intervention.before_step(self, optimizer)
            if self.replicas.at_work():
                self.replicas.step_begins(self.optimizers.follow(optimizer), self.step)
            if self.deep and not with_closure:
                self._look(optimizer)

    def _look(self, optimizer: torch.optim.Optimizer) -> None:
        followed = self.optimizers.follow(optimizer)
        place = user_place(5)
        self.emit(self.optimizers.describe(followed, self.step, place))
        self.emit(followed.border(self.step, place))
        self._examine()
        if self.replicas.world > 1:
            self.emit(self.replicas.states(followed, self.step, place, self._reached))

    def _examine(self, *, final: bool = False) -> None:
        self.emit(self.models.refresh(self.step))
        self.learn_reached()
        for followed in self.optimizers.unstepped():
            self.emit(self.optimizers.describe(followed, self.step, NOWHERE))
        self.emit(self.modes.told(self.step))
        self.emit(self.schedules.told(self.step))
        seen = examine(self.models, self.step, self._reached, final=final)
        self.emit([seen])
        self._check_parameters(seen)

    def learn_reached(self) -> None:
        """Take in what the last sampled backward passes reached, also outside every model's tree."""
        self.emit(self.models.learn_leaves(self._leaves, self.step))
        self._reached.update(number for leaf in self._leaves if (number := self.models.number(leaf)) is not None)
        self._leaves.clear()

    def _check_parameters(self, seen: ParametersExamined) -> None:
        for number, gradient in zip(seen.parameters, seen.gradient, strict=True):
            if gradient is not None and gradient - gradient != 0:
                self._finite(gradient, self.step, "gradient", str(number), NOWHERE)

    def after_step(self, optimizer: torch.optim.Optimizer, *, with_closure: bool) -> None:
        """An optimizer has stepped. Ends the script when enough was seen: the one thing that may pass through."""
        self._step_ended(optimizer, with_closure=with_closure)
        if self.is_here() and not self._stepping and self.enough():
            raise StopWatching

    @guarded
    def _step_ended(self, optimizer: torch.optim.Optimizer, *, with_closure: bool) -> None:
        key = id(optimizer)
        if key in self._stepping:
            del self._stepping[self._stepping.index(key) :]
        if self._stepping:
            return  # an optimizer inside another: one step of the user's
        if self._suspect is not None:  # a closure's own backward pass
            self._resolve_suspect(optimizer)
        if self.deep and with_closure:
            self._look(optimizer)
        followed = self.optimizers.follow(optimizer)
        self._pending.append((self.step, followed.number, time.perf_counter() - self.began, self._root))
        if not isinstance(self._root, Tensor) or self.deep or len(self._pending) >= _PENDING:
            self._write_steps()
        followed.step_ended()
        self.step += 1
        self._randomness = measure.randomness() if self.step <= _LEAVES_UNTIL else ()
        self.deep = self.optimizers.sampled()
        if self.deep:
            self.depth, self._losses = 0, 0
            self._tokens.clear()
        for intervention in self.interventions:
            intervention.after_step(self)

    def _write_steps(self) -> None:
        """Write steps down, also those whose loss still lay on the device."""
        for step, number, seconds, root in self._pending:
            loss = float(root) if root is not None else None
            self.writer.add_step(StepTaken(step, number, loss, seconds))
            if loss is not None and isinstance(root, Tensor) and not self.scaled:
                self._finite(loss, step, "loss", "", NOWHERE)
        self._pending.clear()

    def enough(self) -> bool:
        """Whether a limit is reached."""
        if self.step_limit is not None and self.step >= self.step_limit:
            self.stopped = "steps"
        elif self.second_limit is not None and time.perf_counter() - self.began >= self.second_limit:
            self.stopped = "time"
        return bool(self.stopped)

    @guarded
    def _look_last(self) -> None:
        self._write_steps()
        if self._suspect is not None and self._suspect_is_last and not self._non_finite:
            self._non_finite = True
            self.writer.add(self._suspect, always=True)  # the run ended with it
        if self.step:
            self._examine(final=True)
        for followed in self.optimizers.all() if self.replicas.world > 1 else ():
            self.emit(self.replicas.states(followed, self.step, NOWHERE, self._reached, final=True))

    def end(self, reason: str, exit_code: int = 0, detail: str = "") -> None:
        """Take a last look and write how the run ended."""
        self._look_last()
        seconds = time.perf_counter() - self.began
        ended = RunEnded(
            self.stopped or reason, exit_code, self.step, self.backward_passes, seconds, detail[:300], self.writer.dropped
        )
        self.writer.add(ended, always=True)
