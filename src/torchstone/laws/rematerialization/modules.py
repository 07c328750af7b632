"""A schedule of modules that are run again, whatever the data flow: what it keeps and costs, and what bounds it."""

from collections.abc import Collection
from dataclasses import dataclass

from torchstone.laws.rematerialization.graph import Graph
from torchstone.laws.rematerialization.planning import STRATEGIES

MODEL_STRATEGIES = (*STRATEGIES, "graph")


@dataclass(frozen=True, slots=True)
class Rerun:
    """A module that is run again: its class, its calls in a forward pass, the bytes that these keep otherwise, the work again."""

    module: str
    kind: str
    calls: int
    frees: int
    cost: int


@dataclass(frozen=True, slots=True)
class Place:
    """What one call keeps for the backward pass by its own operations, and how many chosen calls are around it."""

    module: str
    kept: int
    again: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphPlan:
    """Modules that are run again in the backward pass, within a budget in bytes; `held` of them (output, loss) are always there.

    Nothing is proven best. This schedule takes `extra_cost` beyond `forward_cost`, the work of a forward pass; any set of module
    calls takes `lower_bound` or more, and any schedule at all, operation by operation, `any_bound`. The peaks are measured, on fake
    tensors where the model runs on them.
    """

    reruns: tuple[Rerun, ...]
    places: tuple[Place, ...]
    budget: int
    held: int
    predicted_peak: int
    stored_peak: int
    extra_cost: int
    forward_cost: int
    lower_bound: int
    any_bound: int
    refused: dict[str, str]

    @property
    def strategy(self) -> str:
        """Stored, or graph."""
        return "graph" if self.reruns else "stored"

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of what is run again, in the order of their first calls."""
        return tuple(one.module for one in self.reruns)

    @property
    def extra_share(self) -> float:
        """The extra work over that of one forward pass."""
        return self.extra_cost / max(1, self.forward_cost)

    @property
    def bound_share(self) -> float:
        """The same of the lower bound."""
        return self.lower_bound / max(1, self.forward_cost)

    @property
    def gap(self) -> float:
        """How far the extra work may lie above the least of any set of module calls: 0.1 is 10 % of that; 0 proves it least."""
        return (self.extra_cost - self.lower_bound) / max(1, self.lower_bound)


def reruns(graph: Graph, modules: Collection[str], kinds: dict[str, str]) -> tuple[Rerun, ...]:
    """What the chosen modules free and cost, in the order of their first calls."""
    names = sorted(modules, key=lambda name: (graph.modules[name][0], name))
    return tuple(Rerun(name, kinds[name], len(graph.modules[name]), graph.kept(name), graph.costs[name]) for name in names)


def places(graph: Graph, modules: Collection[str]) -> tuple[Place, ...]:
    """Calls in their order, as far as their own operations keep something; of a storage that several keep, the first one does."""
    chosen = {call for name in modules for call in graph.modules[name]}
    seen: set[int] = set()
    kept: dict[int, int] = {}
    for one in graph.saved:
        kept[one.call] = kept.get(one.call, 0) + (0 if one.storage in seen else graph.storages[one.storage].size)
        seen.add(one.storage)
    return tuple(
        Place(graph.calls[call].module, size, len(chosen.intersection(graph.paths[call])))
        for call, size in sorted(kept.items())
        if size
    )
