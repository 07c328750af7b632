"""Finds models by themselves and gives every parameter a number, names, and the line that made it."""

import weakref
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from torch import Tensor, nn

from torchstone.core.events import Event, ModelSeen, ParameterSeen
from torchstone.core.place import NOWHERE, Place
from torchstone.record import measure
from torchstone.record.source import name_of, user_place

T = TypeVar("T")
Fingerprint = tuple[float, float]


class ByIdentity(Generic[T]):
    """Values keyed by a live object's identity; an entry dies with its object, so a reused id finds nothing."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[object], T]] = {}

    def get(self, key: object) -> T | None:
        """The value of an object, if this very object was given one."""
        entry = self._entries.get(id(key))
        return entry[1] if entry is not None and entry[0]() is key else None

    def set(self, key: object, value: T) -> None:
        """Give an object a value."""
        self._entries[id(key)] = (weakref.ref(key), value)


class Models:
    """Everything known of modules and parameters. Holds no strong reference to any of the user's objects."""

    def __init__(self) -> None:
        self._parents: ByIdentity[list[tuple[weakref.ref[nn.Module], str]]] = ByIdentity()
        self._owners: ByIdentity[tuple[weakref.ref[nn.Module], str, Place]] = ByIdentity()
        self._initialized: ByIdentity[Place] = ByIdentity()
        self._loaded: ByIdentity[bool] = ByIdentity()
        self._numbers: ByIdentity[int] = ByIdentity()
        self._models: dict[int, tuple[weakref.ref[nn.Module], str, int]] = {}
        self._ran: ByIdentity[int] = ByIdentity()
        self.parameters: list[weakref.ref[Tensor]] = []
        self.first_seen: list[Fingerprint] = []
        self.weights_read = False

    # What is noted while the user's program builds its modules.

    def parameter_registered(self, module: nn.Module, name: str, parameter: object) -> None:
        """A parameter was put on a module."""
        if isinstance(parameter, Tensor):
            self._owners.set(parameter, (weakref.ref(module), name, user_place(3)))

    def module_registered(self, parent: nn.Module, name: str, module: object) -> None:
        """A module was put into another."""
        if isinstance(module, nn.Module):
            known = self._parents.get(module) or []
            self._parents.set(module, [*known, (weakref.ref(parent), name)])

    def initialized(self, tensor: object) -> None:
        """A function of torch.nn.init filled a tensor."""
        if isinstance(tensor, Tensor):
            self._initialized.set(tensor, user_place(3))

    def loaded(self, module: nn.Module) -> None:
        """Weights from elsewhere were put into a module."""
        for parameter in module.parameters():
            self._loaded.set(parameter, value=True)

    def ran(self, module: nn.Module, *, gradients: bool) -> None:
        """A module was called, with gradients on or off."""
        self._ran.set(module, max(self._ran.get(module) or 0, 2 if gradients else 1))

    def how_it_ran(self, parameter: Tensor) -> int:
        """2 if the module that owns a parameter ran with gradients on, 1 without, 0 not at all."""
        owner = self._owners.get(parameter)
        module = owner[0]() if owner else None
        return (self._ran.get(module) or 0) if module is not None else 2

    def ran_with_gradients(self, module: nn.Module) -> bool:
        """Whether a module was seen to run with gradients on."""
        return self._ran.get(module) == 2  # noqa: PLR2004 - as how_it_ran says

    def is_registered(self, parameter: Tensor) -> bool:
        """Whether a module holds a parameter."""
        return self._owners.get(parameter) is not None

    # Models.

    def top(self, module: nn.Module) -> nn.Module:
        """The outermost module whose tree still holds this one."""
        for _ in range(100):  # a tree of modules is never this deep; a cycle would be
            parents = self._parents.get(module) or []
            holder = next((p for ref, name in parents if (p := ref()) is not None and _child(p, name) is module), None)
            if holder is None:
                return module
            module = holder
        return module

    def is_known(self, module: nn.Module) -> bool:
        """Whether this module is the top of a model that was seen."""
        entry = self._models.get(id(module))
        return entry is not None and entry[0]() is module

    def see(self, module: nn.Module, step: int) -> Iterator[Event]:
        """Take in a model at its first call: its name in the user's code and all its parameters."""
        top = self.top(module)
        if self.is_known(top):
            self._models[id(module)] = (weakref.ref(module), *self._models[id(top)][1:])
            return
        if next(top.parameters(), None) is None:
            return  # a loss or an activation called by itself
        name = name_of(top, 3) or type(top).__name__.lower()
        number = len({entry[2] for entry in self._models.values()})
        self._models[id(top)] = (weakref.ref(top), name, number)
        if module is not top:
            self._models[id(module)] = (weakref.ref(module), name, number)
        yield ModelSeen(number, name, type(top).__name__, user_place(3), step, module.training)
        yield from self.refresh(step)

    def number_of(self, module: nn.Module) -> int:
        """The number of the model that a module called from outside belongs to; -1 if it has no parameters."""
        entry = self._models.get(id(module))
        return entry[2] if entry is not None and entry[0]() is module else -1

    def live(self) -> Iterator[tuple[nn.Module, str, int]]:
        """Every model that still exists."""
        for reference, name, number in list(self._models.values()):
            module = reference()
            if module is not None and self.top(module) is module:
                yield module, name, number

    def path_of(self, module: nn.Module) -> str:
        """A module's path from its model, with the model's name in front."""
        parts: list[str] = []
        top = self.top(module)
        while module is not top:
            parents = self._parents.get(module) or []
            live = ((p, name) for ref, name in parents if (p := ref()) is not None)
            found = next(((p, name) for p, name in live if _child(p, name) is module), None)
            if found is None:
                break
            module, part = found
            parts.append(part)
        entry = self._models.get(id(top))
        name = entry[1] if entry and entry[0]() is top else type(top).__name__.lower()
        return clean(".".join([name, *reversed(parts)]))

    # Parameters.

    def number(self, parameter: Tensor) -> int | None:
        """The number that a parameter has been given."""
        return self._numbers.get(parameter)

    def refresh(self, step: int) -> Iterator[Event]:
        """Take in parameters that models have gained."""
        for module, name, number in self.live():
            paths: dict[int, list[str]] = {}
            tensors: dict[int, Tensor] = {}
            for path, parameter in module.named_parameters(remove_duplicate=False):
                if self.number(parameter) is None:
                    paths.setdefault(id(parameter), []).append(clean(f"{name}.{path}"))
                    tensors[id(parameter)] = parameter
            if tensors:
                holders = {id(p): type(m).__name__ for m in module.modules() for p in m.parameters(recurse=False)}
                news = [(tensors[i], tuple(paths[i])) for i in paths]
                yield from self.learn(news, number, "registered", step, holders)

    def learn(
        self, news: list[tuple[Tensor, tuple[str, ...]]], model: int, origin: str, step: int, holders: dict[int, str] | None = None,
    ) -> Iterator[Event]:
        """Give new parameters their numbers and note how they stand before training. `holders`: their modules' classes, by id."""
        plain = [(tensor, names) for tensor, names in news if self.number(tensor) is None and measure.is_plain(tensor)]
        if not plain:
            return
        with measure.unseen():
            prints = measure.fingerprints([tensor.detach() for tensor, _ in plain])
        for (tensor, names), fingerprint in zip(plain, prints, strict=True):
            number = len(self.parameters)
            self._numbers.set(tensor, number)
            self.parameters.append(weakref.ref(tensor))
            self.first_seen.append(fingerprint)
            owner = self._owners.get(tensor) or self._beside(origin, names)
            mean, deviation = measure.mean_and_deviation(fingerprint, tensor.numel())
            yield ParameterSeen(
                number, names or self._owner_name(tensor), model, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."),
                trainable=tensor.requires_grad, origin=origin, constructed=owner[2] if owner else NOWHERE,
                initialized=self._initialized.get(tensor) or NOWHERE, mean=mean, deviation=deviation,
                loaded=bool(self._loaded.get(tensor)) or self.weights_read, step=step,
                owner=(holders or {}).get(id(tensor), ""),
            )

    def _beside(self, origin: str, names: tuple[str, ...]) -> tuple[weakref.ref[nn.Module], str, Place] | None:
        """For a tensor that was never registered: the line of a parameter of the same module, built beside it."""
        if origin != "attribute":
            return None
        for module, name, _ in self.live():
            for path, holder in module.named_modules():
                if names[0].startswith(clean(f"{name}.{path}").rstrip(".") + "."):
                    found = next((known for p in holder.parameters(recurse=False) if (known := self._owners.get(p))), None)
                    found = found or next((known for p in holder.parameters() if (known := self._owners.get(p))), None)
                    if found:
                        return found
        return None

    def _owner_name(self, tensor: Tensor) -> tuple[str, ...]:
        owner = self._owners.get(tensor)
        module = owner[0]() if owner else None
        return (f"{type(module).__name__}.{owner[1]}",) if owner and module is not None else ()

    def learn_leaves(self, leaves: Iterable[Tensor], step: int) -> Iterator[Event]:
        """Take in leaves that a gradient reached and that no model's tree holds, if some module keeps them."""
        for leaf in leaves:
            if self.number(leaf) is not None:
                continue
            owner = self._owners.get(leaf)
            module = owner[0]() if owner else None
            if module is not None and owner is not None:
                path = self.locate(module) or type(module).__name__
                yield from self.learn([(leaf, (f"{path}.{owner[1]}",))], -1, "unregistered-module", step)
            elif path := self.locate(leaf):
                yield from self.learn([(leaf, (path,))], -1, "attribute", step)

    def locate(self, target: object) -> str:
        """Where a model keeps an object that is not registered: an attribute, or an item of a list or dict in one."""
        for module, _, _ in self.live():
            for holder in module.modules():
                for key, value in vars(holder).items():
                    found = "" if key.startswith("_") else _inside(key, value, target)
                    if found:
                        return f"{self.path_of(holder)}.{found}"
        return ""


def _inside(key: str, value: object, target: object, depth: int = 3) -> str:
    if value is target:
        return key
    items: Iterable[tuple[object, object]] = ()
    if depth and isinstance(value, dict):
        items = value.items()
    elif depth and isinstance(value, list | tuple) and len(value) < 10_000:  # noqa: PLR2004 - longer is data
        items = enumerate(value)
    elif isinstance(value, nn.Module) and isinstance(target, nn.Module):
        # A module in a list may itself hold the layer: `self.blocks = [Block(), Block()]`.
        path = next((name for name, module in value.named_modules() if module is target), "")
        return f"{key}.{path}" if path else ""
    return next((found for name, item in items if (found := _inside(f"{key}[{name!r}]", item, target, depth - 1))), "")


def _child(parent: nn.Module, name: str) -> nn.Module | None:
    return parent._modules.get(name)  # noqa: SLF001 - get_submodule() would raise for one that was replaced


def clean(path: str) -> str:
    """A path without what torch.compile's wrapper puts into it."""
    return path.replace("_orig_mod.", "").removesuffix("._orig_mod")
