"""The systems as PyTorch objects, one file or folder a topic: what a topic's `__all__` names is here as well.

Topics whose names mean little without it are namespaces: `bottleneck`, `diffusion`, `exchange`, `rematerialization`.
"""

from torchstone.parts import (
    activation,
    adaptation,
    attention,
    bottleneck,
    convolution,
    diffusion,
    encoder_decoder,
    exchange,
    noise,
    norm,
    optimization,
    recurrence,
    rematerialization,
    transformer,
)
from torchstone.parts.activation import *
from torchstone.parts.adaptation import *
from torchstone.parts.attention import *
from torchstone.parts.convolution import *
from torchstone.parts.encoder_decoder import *
from torchstone.parts.noise import *
from torchstone.parts.norm import *
from torchstone.parts.optimization import *
from torchstone.parts.recurrence import *
from torchstone.parts.rematerialization import store_on_disk
from torchstone.parts.transformer import *

__all__ = ["bottleneck", "diffusion", "exchange", "rematerialization", "store_on_disk"]
__all__ += activation.__all__
__all__ += adaptation.__all__
__all__ += attention.__all__
__all__ += convolution.__all__
__all__ += encoder_decoder.__all__
__all__ += noise.__all__
__all__ += norm.__all__
__all__ += optimization.__all__
__all__ += recurrence.__all__
__all__ += transformer.__all__
