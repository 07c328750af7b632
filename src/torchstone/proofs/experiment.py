"""An experiment: how one law is held against its part, and the parts broken on purpose that must break it.

`@experiment` registers a generator that is given the part (or a mutant in its place) and a source of draws, and yields evidence:

    @experiment("activation.heaviside", part=torch_heaviside, mutants={"H(0) = 1": lambda x: (x >= 0).double()})
    def heaviside(part, draws):
        for x in draws.normal(200).tolist():
            yield held("activation.heaviside", {"x": x}, part(x), rounding(1))
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import torchstone.laws  # noqa: F401 - registers every law
from torchstone import proofs
from torchstone.core.errors import InvariantError
from torchstone.core.evidence import Evidence
from torchstone.core.law import Kind, find_law

if TYPE_CHECKING:
    from torchstone.proofs.draws import Draws

Part = Callable[..., Any]
Run = Callable[[Part, "Draws"], Iterator[Evidence]]
# The law's own formula on symbols -> expressions that must vanish identically.
Symbolic = Callable[[Callable[..., Any]], Iterable[Any]]

HOW = {
    Kind.SHAPE: "exact",
    Kind.COUNT: "exact",
    Kind.COST: "exact",
    Kind.GRADIENT: "float64",
    Kind.EQUIVALENCE: "float64",
    Kind.BOUND: "random + adversarial",
    Kind.EXPECTATION: "confidence interval",
    Kind.TREND: "repeated runs",
}


@dataclass(frozen=True)
class Experiment:
    """How a law is held. `how` is what the table says; by default, what its kind asks for."""

    law: str
    part: Part
    run: Run
    how: str
    mutants: Mapping[str, Part] = field(default_factory=dict)
    symbolic: Symbolic | None = None


_EXPERIMENTS: dict[str, Experiment] = {}


def experiment(
    law: str, *, part: Part, mutants: Mapping[str, Part], how: str = "", symbolic: Symbolic | None = None
) -> Callable[[Run], Run]:
    """Register the experiment of a law and hand the function back; refuses a second one, and a law without a mutant."""

    def register(run: Run) -> Run:
        if not mutants:
            message = f"the experiment of {law} has no mutant: a law must be able to fail"
            raise InvariantError(message)
        if law in _EXPERIMENTS:
            message = f"two experiments hold {law}"
            raise InvariantError(message)
        said = (how or HOW[find_law(law).kind]) + (" + sympy" if symbolic else "")
        _EXPERIMENTS[law] = Experiment(law, part, run, said, dict(mutants), symbolic)
        return run

    return register


@cache
def all_experiments() -> dict[str, Experiment]:
    """Every experiment by its law's name, found by walking the package."""
    for module in pkgutil.walk_packages(proofs.__path__, f"{proofs.__name__}."):
        importlib.import_module(module.name)
    return dict(sorted(_EXPERIMENTS.items()))
