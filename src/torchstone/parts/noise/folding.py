"""`fold_dropout`: a network trained behind noise whose mean is not 1, made ready for evaluation by scaling the layers behind it.

The network's graph is traced, and every value carries a pending factor: what training expects of it over what evaluation gives,
where the noise is off. Noise multiplies it by its mean; what is linear without a constant passes it on; the next linear or
convolution layer takes it into its weights.
"""

import copy
import inspect
import operator
from collections import Counter
from typing import Any, TypeVar

import torch
from torch import fx, nn
from torch.nn import functional

from torchstone.core.errors import UsageError, told
from torchstone.parts.noise.dropout import UnscaledDropout, unscaled_dropout
from torchstone.parts.noise.gaussian import GaussianNoise, gaussian_noise

Model = TypeVar("Model", bound=nn.Module)
NOISES = (UnscaledDropout, GaussianNoise)
LAYERS = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip
# Linear without a constant: they pass a factor on. Dropout that rescales has the mean 1.
PASSING = (
    nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Upsample, nn.PixelShuffle,
    nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.PixelUnshuffle,
    nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ChannelShuffle,
)  # fmt: skip
_PASSING = {
    torch.flatten, torch.reshape, torch.permute, torch.transpose, torch.squeeze, torch.unsqueeze, torch.chunk, torch.split,
    torch.neg, torch.sum, torch.mean, torch.movedim, torch.swapaxes, torch.unbind, torch.flip, operator.getitem, operator.neg,
    functional.dropout, functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d, functional.interpolate,
    functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d, functional.adaptive_avg_pool3d,
    operator.truediv, torch.div, "div",
    "flatten", "reshape", "view", "permute", "transpose", "squeeze", "unsqueeze", "contiguous", "chunk", "split", "neg", "sum",
    "mean", "movedim", "swapaxes", "unbind", "flip", "expand", "clone", "to", "float", "double", "half", "bfloat16", "type_as", "t",
}  # fmt: skip
_ADDING = {torch.add, torch.sub, operator.add, operator.sub, operator.iadd, operator.isub, "add", "sub", "add_", "sub_"}
_JOINING = {torch.cat, torch.stack}
_MULTIPLYING = {torch.mul, operator.mul, operator.imul, operator.matmul, torch.matmul, torch.bmm, "mul", "matmul", "bmm"}
_SIZES = {"size", "dim", "numel"}  # of a value they say nothing that noise changes
_ATTRIBUTES = {"shape", "dtype", "device", "ndim"}
_DRAWS = {unscaled_dropout, gaussian_noise, torch.bernoulli}
_DRAWN = {"bernoulli", "bernoulli_", "normal_"}
# Draws that a network may also make in evaluation (a sample of a latent): refused where training alone makes them.
_RANDOM = {
    "rand", "rand_like", "randn", "randn_like", "randint", "randint_like", "normal", "poisson", "multinomial", "uniform_",
    "exponential_", "random_",
}  # fmt: skip
# Their result shares its argument's memory, or may.
_VIEWS = {
    torch.flatten, torch.reshape, torch.permute, torch.transpose, torch.squeeze, torch.unsqueeze, torch.chunk, torch.split,
    torch.movedim, torch.swapaxes, torch.unbind, operator.getitem,
    "flatten", "reshape", "view", "permute", "transpose", "squeeze", "unsqueeze", "contiguous", "chunk", "split", "movedim",
    "swapaxes", "unbind", "expand", "to", "float", "double", "half", "bfloat16", "type_as", "t",
}  # fmt: skip


def _mean(noise: UnscaledDropout | GaussianNoise) -> float:
    return 1 - noise.p if isinstance(noise, UnscaledDropout) else noise.mean


class _Tracer(fx.Tracer):
    """Noise is a leaf, as torch's own layers are, unless noise is hidden in them."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, NOISES):
            return True
        return super().is_leaf_module(m, module_qualified_name) and not any(isinstance(one, NOISES) for one in m.modules())


def fold_dropout(model: Model) -> Model:
    """A copy whose evaluation agrees in expectation with training: weights behind noise take its mean, and the noise is gone.

    For every `UnscaledDropout(p)`, the linear and convolution layers that its output reaches get (1-p) W, and the biases stay; for
    `GaussianNoise(mean)` they get mean·W. The network's real graph is followed (torch.fx, in training mode): nested modules,
    branches, reshapes, sums and average pooling. In the copy those noises are `nn.Identity`; class, mode, dtype and device stay,
    and so does `model`. Parameters tied to a scaled weight are tied no longer, unless they are scaled alike. With activations
    behind those layers the copy agrees layer by layer: each layer's output is expected, given its input (weight scaling inference).

    Raises UsageError where no change of weights does it: an activation, a norm, or an unknown operation between the noise and the
    next layer; two factors in one sum; noise at the network's end; one layer called with two factors; noise called as a function,
    or drawn by hand in training alone; and a graph that cannot be traced.
    Sources: Srivastava et al. 2014, section 4; Goodfellow et al. 2016, section 7.12; exam A5.

    >>> folded = fold_dropout(nn.Sequential(UnscaledDropout(0.5), nn.Linear(3, 2)))
    >>> folded
    Sequential(
      (0): Identity()
      (1): Linear(in_features=3, out_features=2, bias=True)
    )
    """
    if not isinstance(model, nn.Module) or isinstance(model, (*NOISES, torch.jit.ScriptModule)):
        message = f"a network with noise in it is folded; {type(model).__name__} came: pass the nn.Module that holds the layers"
        raise UsageError(message)
    if hasattr(model, "_orig_mod"):  # torch.compile's wrapper
        message = "a compiled network is not folded: fold the network first, then give the copy to torch.compile"
        raise UsageError(message)
    if any(nn.parameter.is_lazy(one) for one in (*model.parameters(), *model.buffers())):
        message = f"this {type(model).__name__} has layers without weights yet: call it once on its inputs, then fold it"
        raise UsageError(message)
    copied = copy.deepcopy(model)
    _refuse_draws(copied)
    factors, noises = _followed(_traced(copied, training=True), copied)
    _scale(copied, factors)
    for name in noises:
        parent, _, child = name.rpartition(".")
        setattr(copied.get_submodule(parent), child, nn.Identity().train(copied.get_submodule(name).training))
    return copied


def _traced(model: nn.Module, *, training: bool) -> fx.Graph:
    """The graph of a forward; arguments with defaults take them. Modes are put back."""
    modes = {module: module.training for module in model.modules()}
    given = inspect.signature(model.forward).parameters.values()
    constants = {one.name: one.default for one in given if one.default is not one.empty}
    try:
        return _Tracer(autowrap_functions=(unscaled_dropout, gaussian_noise)).trace(model.train(training), constants)
    except Exception as error:
        message = (
            f"the graph of {type(model).__name__} cannot be followed ({told(error)[:120]}): fold the parts that can be, "
            "or use weight_scaling_inference on each linear layer"
        )
        raise UsageError(message) from error
    finally:
        for module, mode in modes.items():
            module.training = mode


def _refuse_draws(model: nn.Module) -> None:
    """Raise UsageError where forward draws numbers in training that it does not draw in evaluation: their mean is not known."""
    before = torch.get_rng_state()
    try:
        drawn = _random(model, training=True)
        if not drawn:
            return
        try:
            always = _random(model, training=False)
        except UsageError:
            always = Counter()
    finally:
        torch.set_rng_state(before)
    alone = drawn - always
    if alone:
        message = (
            f"{next(iter(alone))} draws numbers in forward in training alone, and nothing says by what mean they change it: "
            "use UnscaledDropout or GaussianNoise as a module"
        )
        raise UsageError(message)


def _random(model: nn.Module, *, training: bool) -> Counter[str]:
    """How often the operations of each name draw in a forward: calls in the graph, and those that were made while it was traced."""
    before = torch.get_rng_state()
    graph = _traced(model, training=training)
    names = (str(getattr(one.target, "__name__", one.target)) for one in graph.nodes if one.op in {"call_function", "call_method"})
    found = Counter(name for name in names if name in _RANDOM)
    if not torch.equal(torch.get_rng_state(), before):  # a tensor of a fixed size, say: it is a constant of the graph
        found["a tensor of fixed size"] += 1
    return found


def _followed(graph: fx.Graph, model: nn.Module) -> tuple[dict[str, float], set[str]]:
    """The factor that each layer takes, by name, and the names of the noises met."""
    pending: dict[fx.Node, float] = {}  # without the values whose factor is 1
    factors: dict[str, float] = {}
    noises: set[str] = set()
    for node in graph.nodes:
        arriving = [pending.get(one, 1.0) for one in node.all_input_nodes]
        module = model.get_submodule(str(node.target)) if node.op == "call_module" else None
        factor = 1.0
        if isinstance(module, NOISES):
            _alone(node, module)
            noises.add(str(node.target))
            factor = arriving[0] * _mean(module)
        elif type(module) in LAYERS:
            taken = factors.setdefault(str(node.target), arriving[0])
            if taken != arriving[0]:
                message = f"{node.target} is called behind noise of mean {taken:g} and of mean {arriving[0]:g}: use two layers"
                raise UsageError(message)
        elif not _asks_size(node):
            factor = _passed(node, module, pending)
        if factor != 1:
            pending[node] = factor
    return factors, noises


def _alone(node: fx.Node, module: UnscaledDropout | GaussianNoise) -> None:
    """Noise that writes into its input is followed only where nothing else reads that memory."""
    written: fx.Node | None = node.all_input_nodes[0] if module.inplace else None
    while written is not None:
        if len(written.users) > 1:
            message = f"{node.target} writes into a value that others read: give it inplace=False"
            raise UsageError(message)
        written = written.all_input_nodes[0] if written.target in _VIEWS and written.all_input_nodes else None


def _asks_size(node: fx.Node) -> bool:
    """Whether a node asks for a value's shape or type only."""
    if node.op == "call_method":
        return node.target in _SIZES
    return node.op == "call_function" and node.target is getattr and node.args[1] in _ATTRIBUTES


def _passed(node: fx.Node, module: nn.Module | None, pending: dict[fx.Node, float]) -> float:
    """The factor that an operation hands on. Refuses what a factor cannot pass."""
    if node.target in _DRAWS or (node.op == "call_method" and node.target in _DRAWN):
        message = f"{_said(node, module)} draws noise in forward, which no copy can switch off: use UnscaledDropout as a module"
        raise UsageError(message)
    noisy = [one for one in node.all_input_nodes if one in pending]
    if not noisy:
        return 1.0
    if node.op == "output":
        message = "noise reaches the network's output with no linear layer behind it: no weights can take its mean; add one"
        raise UsageError(message)
    if type(module) in PASSING or node.target in _PASSING:
        if noisy == [node.args[0] if node.args else node.kwargs.get("input")]:
            return pending[noisy[0]]
    elif node.target in _MULTIPLYING:
        if len(noisy) == 1 and sum(one is noisy[0] for one in node.args) <= 1:
            return pending[noisy[0]]
    elif node.target in _ADDING | _JOINING:
        return _joined(node, module, pending)
    message = (
        f"noise goes through {_said(node, module)} before it meets a linear layer: no weights of that layer give the expectation; "
        "put the noise behind it (dropout means the same there if it acts on elements and is 0 at 0)"
    )
    raise UsageError(message)


def _joined(node: fx.Node, module: nn.Module | None, pending: dict[fx.Node, float]) -> float:
    """The one factor of all values that are added or put side by side."""
    first = node.args[0] if node.args else node.kwargs.get("tensors", ())
    values: Any = node.args[:2] if node.target in _ADDING else first
    found = {pending.get(one, 1.0) if isinstance(one, fx.Node) else 1.0 for one in values}
    if len(found) != 1:
        means = " and ".join(f"{one:g}" for one in sorted(found))
        message = f"{_said(node, module)} joins values behind noise of mean {means}: no weights fit both; use dropout that rescales"
        raise UsageError(message)
    return float(found.pop())


def _said(node: fx.Node, module: nn.Module | None) -> str:
    """An operation by the name that its user knows."""
    if module is not None:
        return f"{node.target} ({type(module).__name__})"
    return str(getattr(node.target, "__name__", node.target))


def _scale(model: nn.Module, factors: dict[str, float]) -> None:
    """Give each layer its factor; weights that were one and are scaled alike stay one."""
    scaled: dict[tuple[int, float], nn.Parameter] = {}
    for name, factor in factors.items():
        layer = model.get_submodule(name)
        weight = dict(layer.named_parameters(recurse=False)).get("weight")
        if weight is None and factor != 1:
            message = f"{name} computes its weight from other parameters (a norm, or pruning): remove that before it is folded"
            raise UsageError(message)
        if weight is None or factor == 1:
            continue
        if (id(weight), factor) not in scaled:
            scaled[id(weight), factor] = nn.Parameter(factor * weight.detach(), weight.requires_grad)
        layer.register_parameter("weight", scaled[id(weight), factor])
