"""Puts a wrapper in the place of an attribute, and the original back."""

import functools
from collections.abc import Callable
from contextlib import ExitStack

Function = Callable[..., object]


def replace(stack: ExitStack, holder: object, name: str, wrap: Callable[[Function], Function]) -> None:
    """Put a wrapper in the place of an attribute, and the original back when the stack closes.

    It keeps the original's name and docstring, and hands TorchScript the original.
    """
    original = getattr(holder, name)
    own = name in vars(holder)
    wrapper = functools.wraps(original)(wrap(original))
    wrapper.__prepare_scriptable__ = lambda: original  # type: ignore[attr-defined] # read by torch.jit.script
    setattr(holder, name, wrapper)
    stack.callback(setattr, holder, name, original) if own else stack.callback(delattr, holder, name)
