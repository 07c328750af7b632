"""What a study's module must offer, what its runs are given, and how it is found."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol, cast

import torch

from torchstone import studies
from torchstone.core.errors import InvariantError, UsageError
from torchstone.core.evidence import Evidence
from torchstone.core.study import Curve, Outcome, Outcomes, Picture, Plot, Setting
from torchstone.studies.keeping import Keeper

ENGINE = {"study", "running", "keeping", "store", "judging"}
NEEDED = ("NAME", "QUESTION", "SETTLES", "FIGURES", "QUICK", "settings", "run", "judge", "plots")
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Tools:
    """What one run is given.

    quick: the small size. folder: where the user's data lies, if named. tell: (done, all) for the progress line.
    keep: the run's own state, for a run that goes on after a kill. shared: tensors that runs of one seed have in common,
    made once. remark: say what a reader must know.
    """

    quick: bool
    folder: Path | None
    tell: Callable[[int, int], None]
    keep: Keeper
    shared: Callable[[str, Callable[[], Tensors]], Tensors]
    remark: Callable[[str], None]


def measured(
    figures: Mapping[str, float], curves: Mapping[str, Curve] | None = None, pictures: Mapping[str, Picture] | None = None
) -> Outcome:
    """What a run returns: its setting, seed and seconds are filled in by the engine."""
    return Outcome("", 0, dict(figures), dict(curves or {}), dict(pictures or {}))


class Study(Protocol):
    """A module of studies/ satisfies this; its docstring is the study's page.

    QUESTION: what is settled, one sentence. SETTLES: the documents' questions. FIGURES: what a run measures, each with its
    words and unit. QUICK: what a quick run cannot show. SEEDS, QUICK_SEEDS (optional): how many by default. OWN_DATA (optional):
    what it trains on, where that is not for the user to choose.
    """

    NAME: str
    QUESTION: str
    SETTLES: tuple[str, ...]
    FIGURES: Mapping[str, str]
    QUICK: str
    __doc__: str | None

    def settings(self, *, quick: bool) -> Sequence[Setting]:
        """What is compared."""

    def run(self, setting: Setting, seed: int, tools: Tools) -> Outcome:
        """Train once. The same setting and seed give the same outcome, on one machine."""

    def judge(self, outcomes: Outcomes, *, quick: bool) -> Iterator[Evidence]:
        """The laws held against what was measured; undecided where the runs cannot tell."""

    def plots(self, outcomes: Outcomes) -> Iterator[Plot]:
        """What people would rather see than read."""


@cache
def all_studies() -> tuple[Study, ...]:
    """Every study of the package, by name."""
    names = (entry.name for entry in pkgutil.iter_modules(studies.__path__) if not entry.ispkg and entry.name not in ENGINE)
    found = [importlib.import_module(f"{studies.__name__}.{name}") for name in names]
    for module in found:
        missing = [name for name in NEEDED if not hasattr(module, name)]
        if missing or not module.__doc__ or module.__name__.rpartition(".")[2].replace("_", "-") != module.NAME:
            message = f"{module.__file__} is no study: it lacks {', '.join(missing) or 'a docstring, or its own name as NAME'}"
            raise InvariantError(message)
    return cast("tuple[Study, ...]", tuple(sorted(found, key=lambda module: str(module.NAME))))


def find_study(name: str) -> Study:
    """The study of that name. Raises UsageError with those that there are."""
    for one in all_studies():
        if name == one.NAME:
            return one
    message = f"no study is named {name!r}; there are {', '.join(one.NAME for one in all_studies())}"
    raise UsageError(message)
