"""A file is written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PART = ".part"  # how a file ends that is not whole yet


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Give a path beside the target to write to; it takes the target's place when the block ends without an error."""
    part = target.with_name(f"{target.name}.{os.getpid()}{PART}")
    try:
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
