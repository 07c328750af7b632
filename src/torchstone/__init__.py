"""torchstone: PyTorch code held against the laws of deep learning.

`check` runs a training script (or a function of yours) and reports which laws it breaks; `watch` does so for a block of code, in a
notebook or a test; `prove` holds every law against its running part; `solve` has the inverse questions; `trace` makes derivative
tables; `study` trains what no closed form settles; `answer` answers the documents' questions; `explain` is the page of a finding
or a law; `parts` are the systems as PyTorch objects. Everything is imported on first use: the laws need no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchstone import parts, solve
    from torchstone.explaining import explain
    from torchstone.problems.answering import answer
    from torchstone.proofs.proving import prove
    from torchstone.studies.running import study
    from torchstone.traces.tracing import trace, trace_function
    from torchstone.watching import Watched, check, watch

__version__ = "0.1.0"
__all__ = ["Watched", "answer", "check", "explain", "parts", "prove", "solve", "study", "trace", "trace_function", "watch"]

_HOMES = {
    "check": "watching",
    "watch": "watching",
    "Watched": "watching",
    "explain": "explaining",
    "answer": "problems.answering",
    "prove": "proofs.proving",
    "study": "studies.running",
    "trace": "traces.tracing",
    "trace_function": "traces.tracing",
}
_FOLDERS = {"parts", "solve"}


def __getattr__(name: str) -> object:
    if name in _FOLDERS:
        return import_module(f"torchstone.{name}")
    if name not in _HOMES:
        message = f"module 'torchstone' has no attribute {name!r}; it has {', '.join(__all__)}"
        raise AttributeError(message)
    return getattr(import_module(f"torchstone.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
