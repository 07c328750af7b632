"""A line of the user's own code."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the user's own code."""

    file: str = ""
    line: int = 0

    def __bool__(self) -> bool:
        return bool(self.file)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.file else "(unknown line)"


NOWHERE = Place()
