"""The inverse questions: what must be chosen so that a law gives what is wanted. No torch.

`conv` and `chain` ask for the settings of windowed layers, `descent` for the hyper-parameters of an optimizer,
`all_reduce` for the scheme by which workers exchange gradients,
`memory` for what a chain of layers runs again to fit a budget.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchstone.solve.convolution import Chain, ConvSolution, ConvSolutions, Layer, chain, conv
    from torchstone.solve.exchange import all_reduce
    from torchstone.solve.optimization import descent
    from torchstone.solve.rematerialization import memory

__all__ = ["Chain", "ConvSolution", "ConvSolutions", "Layer", "all_reduce", "chain", "conv", "descent", "memory"]
_HOMES = {"all_reduce": "exchange", "descent": "optimization", "memory": "rematerialization"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        message = f"module 'torchstone.solve' has no attribute {name!r}; it has {', '.join(__all__)}"
        raise AttributeError(message)
    return getattr(import_module(f"torchstone.solve.{_HOMES.get(name, 'convolution')}"), name)


def __dir__() -> list[str]:
    return __all__
