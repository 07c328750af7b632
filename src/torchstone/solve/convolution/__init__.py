"""The inverse questions of windowed layers: which settings give a wanted shape, alone (conv) or in a chain."""

from torchstone.solve.convolution.asking import conv
from torchstone.solve.convolution.chaining import Chain, ChainRow, NothingFitsError, chain
from torchstone.solve.convolution.layer import Layer
from torchstone.solve.convolution.solutions import ConvSolution, ConvSolutions

__all__ = ["Chain", "ChainRow", "ConvSolution", "ConvSolutions", "Layer", "NothingFitsError", "chain", "conv"]
