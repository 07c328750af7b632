"""Reentrant checkpoints that autograd does not follow: none of their inputs asks for a gradient."""

import torch

from torchstone.core.events import CheckpointWithoutGradient
from torchstone.record.replacing import Function
from torchstone.record.source import user_place
from torchstone.record.watcher import Watcher, guarded

_compiling = torch.compiler.is_compiling


def noting(watcher: Watcher, original: Function) -> Function:
    """Around the autograd function of a reentrant checkpoint: told once a line, at sampled steps."""
    told: set[object] = set()

    @guarded
    def note(watcher: Watcher, arguments: tuple[object, ...]) -> None:
        place = user_place(1)
        if place not in told and not any(isinstance(value, torch.Tensor) and value.requires_grad for value in arguments):
            told.add(place)
            watcher.emit([CheckpointWithoutGradient(watcher.step, place)])

    def apply(*arguments: object, **options: object) -> object:
        if not _compiling() and watcher.deep and torch.is_grad_enabled():
            note(watcher, arguments)
        return original(*arguments, **options)

    return apply
