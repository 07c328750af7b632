"""Initialisations learned over tasks: MAML, with second order or without, and Reptile; all tasks at once.

A stack of linear layers takes the route of batched products (`stack`), any other model torch.func's vmap over functional_call, and
what vmap cannot run for all tasks at once (torch's recurrent layers, `if` on a tensor's value) runs task by task.
What requires a gradient is adapted in the inner steps: with adapters (`add_lora`) the factors, with all else frozen and shared.
Axis letters: t tasks, n examples of a task.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map

from torchstone.core.errors import UsageError
from torchstone.parts.adaptation.stack import IGNORED, Loss, Stack, one_number, read_stack
from torchstone.parts.adaptation.written import WrittenOut

Adapted = dict[str, Tensor]
# What torch says where vmap has no rule for an operation, or none could be.
_NO_RULE = ("vmap: ", "Batching rule not implemented")


class MetaLearner(nn.Module):
    """What MAML and Reptile share: k inner steps of gradient descent for every task, all from the model's own parameters.

    `model` maps (n, ...) inputs to outputs, `loss(outputs, targets)` gives one number. `batch_size`: inner step j takes the j-th
    slice of that many examples, beginning again where a task has no more; all examples by default. The model's own parameters are
    the initialisation, and train by any optimiser. Modules that update buffers (nn.BatchNorm in training) cannot be adapted task
    by task. `route` is "stack" or "vmap".

    Raises UsageError for a rate below 0 or not finite, steps below 1, a model with nothing to train, or with running statistics.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss = functional.mse_loss,
        *,
        inner_lr: float,
        inner_steps: int = 1,
        batch_size: int | None = None,
    ) -> None:
        super().__init__()
        _check_kinds(model, loss)
        _check(inner_lr, inner_steps, batch_size)
        self.model, self.inner_lr, self.inner_steps, self.batch_size = model, inner_lr, inner_steps, batch_size
        self.loss = _functional(loss)
        self._initial()
        self._refuse_statistics()

    def _initial(self) -> dict[str, Tensor]:
        """The parameters to adapt, by name."""
        found: dict[str, Tensor] = {name: one for name, one in self.model.named_parameters() if one.requires_grad}
        if not found:
            message = f"this {type(self.model).__name__} has no parameter that requires a gradient; unfreeze what is to be adapted"
            raise UsageError(message)
        return found

    def _refuse_statistics(self) -> None:
        for name, module in self.model.named_modules():
            if getattr(module, "running_mean", None) is not None and module.training:
                layer = f"{name or 'the model'} ({type(module).__name__})"
                message = f"{layer} updates running statistics, which tasks cannot share; call its eval()"
                raise UsageError(message)

    @property
    def stack(self) -> Stack | None:
        """The model as a stack of linear layers, or None where it is none; read anew, since a model may be changed."""
        return read_stack(self.model)

    @property
    def route(self) -> str:
        """How inner steps are computed."""
        return "stack" if self.stack else "vmap"

    def adapt(self, inputs: Shaped[Tensor, "t n *x"], targets: Shaped[Tensor, "t *y"], steps: int | None = None) -> Adapted:
        """Every task's parameters after `steps` (`inner_steps`) steps on its examples: by name, (t, ...) each.

        Differentiable by the initialisation, to second order, unless under torch.no_grad().
        """
        count = _tasks(inputs, targets)
        self._refuse_statistics()
        steps = self.inner_steps if steps is None else steps
        _check(self.inner_lr, steps, self.batch_size)
        stack = self.stack
        shared = self._frozen() if stack else {}
        initial = self._initial()
        parameters = {name: one.expand(count, *one.shape) for name, one in {**initial, **shared}.items()}
        for number in range(steps):
            some = _slice(number, inputs.shape[1], self.batch_size)
            if stack and inputs.dim() == 3:  # noqa: PLR2004 - tasks, examples, features
                parameters = stack.step(parameters, inputs[:, some], targets[:, some], self.loss, self.inner_lr, initial)
            else:
                parameters = self._step({name: parameters[name] for name in initial}, inputs[:, some], targets[:, some])
        return {name: parameters[name] for name in initial}

    def _step(self, parameters: Adapted, inputs: Tensor, targets: Tensor) -> Adapted:
        """One step of any model, by torch.func."""

        def task_loss(own: Adapted, x: Tensor, y: Tensor) -> Tensor:
            return one_number(self.loss(functional_call(self.model, own, (x,)), y))

        gradients = _every_task(grad(task_loss), parameters, inputs, targets)
        return {name: torch.sub(one, gradients[name], alpha=self.inner_lr) for name, one in parameters.items()}

    def _frozen(self) -> Adapted:
        return {name: one for name, one in self.model.named_parameters() if not one.requires_grad}

    def predict(self, adapted: Adapted, inputs: Shaped[Tensor, "t n *x"]) -> Float[Tensor, "t n *o"]:
        """Outputs of every task's own parameters, as `adapt` gives them, for its inputs."""
        stack = self.stack
        if stack and inputs.dim() == 3:  # noqa: PLR2004 - tasks, examples, features
            shared = {name: one.expand(len(inputs), *one.shape) for name, one in self._frozen().items()}
            return stack.forward({**adapted, **shared}, inputs)[0]

        def run(own: Adapted, x: Tensor) -> Tensor:
            return functional_call(self.model, own, (x,))  # type: ignore[no-any-return]

        outputs: Tensor = _every_task(run, adapted, inputs)
        return outputs

    def losses(self, adapted: Adapted, inputs: Shaped[Tensor, "t n *x"], targets: Shaped[Tensor, "t *y"]) -> Float[Tensor, "t"]:
        """Every task's loss with its own parameters."""
        _tasks(inputs, targets)
        found: Tensor = vmap(lambda output, target: one_number(self.loss(output, target)))(self.predict(adapted, inputs), targets)
        return found

    def extra_repr(self) -> str:
        """The arguments, for printing."""
        return f"inner_lr={self.inner_lr}, inner_steps={self.inner_steps}, batch_size={self.batch_size}, route={self.route!r}"


class MAML(MetaLearner):
    """Model-agnostic meta-learning: the initialisation from which k inner steps on a task leave the least loss on more of its data.

        maml = MAML(model, inner_lr=0.01, inner_steps=5)
        loss = maml(support_inputs, support_targets, query_inputs, query_targets)
        loss.backward()  # the meta-gradient, exact to second order, in the model's parameters
        optimizer.step()

    model, loss, inner_lr, inner_steps, batch_size: see `MetaLearner`. `first_order` leaves out how the inner steps change with the
    initialisation: less memory and a third of the arithmetic, and another gradient.

    Source: Finn, Abbeel and Levine 2017, algorithm 1 and section 5.2 (first order).

    >>> maml = MAML(nn.Linear(3, 1), inner_lr=0.1, inner_steps=2)
    >>> maml(torch.ones(4, 5, 3), torch.ones(4, 5, 1), torch.ones(4, 6, 3), torch.ones(4, 6, 1)).shape
    torch.Size([])
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss = functional.mse_loss,
        *,
        inner_lr: float,
        inner_steps: int = 1,
        batch_size: int | None = None,
        first_order: bool = False,
    ) -> None:
        super().__init__(model, loss, inner_lr=inner_lr, inner_steps=inner_steps, batch_size=batch_size)
        self.first_order = first_order

    def forward(
        self,
        support_inputs: Shaped[Tensor, "t n *x"],
        support_targets: Shaped[Tensor, "t *y"],
        query_inputs: Shaped[Tensor, "t m *x"],
        query_targets: Shaped[Tensor, "t *z"],
    ) -> Float[Tensor, ""]:
        """The mean over tasks of the loss on query data behind the inner steps on support data; its backward is the meta-gradient.

        Raises UsageError where the four do not have one number of tasks.
        """
        if _tasks(support_inputs, support_targets) != _tasks(query_inputs, query_targets):
            message = f"support and query data are of the same tasks; {len(support_inputs)} and {len(query_inputs)} came"
            raise UsageError(message)
        if self.first_order:
            with torch.no_grad():
                adapted = self.adapt(support_inputs, support_targets)
            # The adapted value, with the derivative of the initialisation: 1.
            adapted = {name: adapted[name] + (one - one.detach()) for name, one in self._initial().items()}
        else:
            adapted = self.adapt(support_inputs, support_targets)
        return self.losses(adapted, query_inputs, query_targets).mean()


class Reptile(MetaLearner):
    """The initialisation moved towards where k inner steps lead: no query data, no second order, the memory of one step.

        reptile = Reptile(model, inner_lr=0.01, inner_steps=10, batch_size=10)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)  # its rate is the paper's epsilon
        reptile.backward(inputs, targets)
        optimizer.step()

    model, loss, inner_lr, inner_steps, batch_size: see `MetaLearner`. Source: Nichol, Achiam and Schulman 2018, algorithms 1 and 2.
    """

    @torch.no_grad()
    def backward(self, inputs: Shaped[Tensor, "t n *x"], targets: Shaped[Tensor, "t *y"]) -> Float[Tensor, ""]:
        """Add the mean over tasks of the way from the adapted parameters back to the initialisation to each `.grad`.

        The mean loss of the tasks behind their inner steps comes back, detached.
        """
        adapted = self.adapt(inputs, targets)
        for name, one in self._initial().items():
            way = one - adapted[name].mean(0)
            one.grad = way if one.grad is None else one.grad + way
        return self.losses(adapted, inputs, targets).mean()

    def forward(self, inputs: Shaped[Tensor, "t n *x"], targets: Shaped[Tensor, "t *y"]) -> Float[Tensor, ""]:
        """The mean loss of the tasks behind their inner steps, without a graph: for evaluation; `backward` trains."""
        with torch.no_grad():
            return self.losses(self.adapt(inputs, targets), inputs, targets).mean()


def _check_kinds(model: object, loss: object) -> None:
    if not isinstance(model, nn.Module) or not callable(loss):
        message = f"an nn.Module and a loss are needed; {type(model).__name__} and {type(loss).__name__} came"
        raise UsageError(message)


def _check(rate: float, steps: int, batch_size: int | None) -> None:
    if isinstance(rate, bool) or not (isinstance(rate, int | float) and math.isfinite(rate) and rate >= 0):
        message = f"inner_lr is a finite number of 0 or more; {rate!r} came"
        raise UsageError(message)
    for name, number in (("inner_steps", steps), ("batch_size", 1 if batch_size is None else batch_size)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            message = f"{name} is a whole number of 1 or more; {number!r} came"
            raise UsageError(message)


def _tasks(inputs: object, targets: object) -> int:
    """The number of tasks that inputs and targets have in common."""
    if not (isinstance(inputs, Tensor) and isinstance(targets, Tensor)):
        came = f"{type(inputs).__name__} and {type(targets).__name__}"
        message = f"inputs and targets are tensors (tasks, examples, ...); {came} came: a model of several inputs takes them in one"
        raise UsageError(message)
    if inputs.dim() < 2 or targets.dim() < 2 or inputs.shape[:2] != targets.shape[:2] or not inputs.shape[0] * inputs.shape[1]:  # noqa: PLR2004
        came = f"{tuple(inputs.shape)} and {tuple(targets.shape)}"
        message = f"inputs and targets are (tasks, examples, ...), one or more of each; {came} came"
        raise UsageError(message)
    return len(inputs)


def _slice(number: int, examples: int, batch_size: int | None) -> slice:
    """The examples of an inner step."""
    if batch_size is None or batch_size >= examples:
        return slice(None)
    begin = (number * batch_size) % (examples - examples % batch_size)
    return slice(begin, begin + batch_size)


def _functional(loss: Loss) -> Loss:
    """The function that a loss module with default settings calls; any other loss as it is."""
    if type(loss) is nn.MSELoss and loss.reduction == "mean":
        return functional.mse_loss
    if type(loss) is nn.CrossEntropyLoss and loss.reduction == "mean" and loss.weight is None:
        default = loss.ignore_index == IGNORED and not loss.label_smoothing
        return functional.cross_entropy if default else loss
    return loss


def _rows(given: Adapted | Tensor) -> list[Any]:
    """What each task has of it."""
    if isinstance(given, Tensor):
        return list(given.unbind())
    return [dict(zip(given, row, strict=True)) for row in zip(*(one.unbind() for one in given.values()), strict=True)]


def _every_task(function: Callable[..., Any], *given: Any) -> Any:
    """A function of one task's parameters and data for all tasks: at once by vmap, one by one where it has no rule for it."""
    with WrittenOut(), sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
        try:
            return vmap(function, randomness="different")(*given)
        except RuntimeError as error:
            if not any(sign in str(error) for sign in _NO_RULE):
                raise
        rows = zip(*(_rows(one) for one in given), strict=True)
        return tree_map(lambda *tensors: torch.stack(tensors), *(function(*row) for row in rows))
