"""Gradient exchange over torch.distributed's point-to-point messages: in place on a tensor, messages and bytes counted."""

from torchstone.parts.exchange.hook import ddp_hook
from torchstone.parts.exchange.running import Exchanged, Traffic, in_process
from torchstone.parts.exchange.schemes import (
    all_gather,
    all_to_all,
    exchange,
    halving_doubling_all_reduce,
    own_part,
    parameter_server,
    reduce_scatter,
    ring_all_reduce,
    tree_all_reduce,
)
from torchstone.parts.exchange.talking import ExchangeError

__all__ = [
    "ExchangeError",
    "Exchanged",
    "Traffic",
    "all_gather",
    "all_to_all",
    "ddp_hook",
    "exchange",
    "halving_doubling_all_reduce",
    "in_process",
    "own_part",
    "parameter_server",
    "reduce_scatter",
    "ring_all_reduce",
    "tree_all_reduce",
]
