"""What one run of a script is for: plain data, handed from the parent process to the child as JSON."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from torchstone.core.errors import UsageError
from torchstone.core.finding import Change, Probe

DEFAULT_STEPS = 200


@dataclass(frozen=True, slots=True)
class Script:
    """A script or module with its own arguments."""

    target: str
    arguments: tuple[str, ...] = ()
    as_module: bool = False

    def validate(self) -> None:
        """Refuse what can never run, before a process is started."""
        if self.as_module:
            return
        path = Path(self.target)
        if path.is_dir():
            self._refuse("is a folder", "name the script in it, or use -m for a package")
        if not path.exists():
            self._refuse("does not exist", "check the path and the working directory")
        if path.suffix == ".ipynb":
            self._refuse("is a notebook", "inside it, use `with torchstone.watch() as run:` and then `run.report`")
        if path.is_file():
            self._parse(path)

    def _parse(self, path: Path) -> None:
        try:
            compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        except SyntaxError as error:
            self._refuse(f"does not parse: {error.msg} (line {error.lineno})", "repair it first")
        except (ValueError, UnicodeDecodeError) as error:
            self._refuse(f"is no Python source ({error})", "name a Python script")
        except OSError as error:
            self._refuse(f"cannot be read ({error.strerror})", "check its permissions")

    def _refuse(self, what: str, repair: str) -> None:
        message = f"{self.target} {what}; {repair}"
        raise UsageError(message)


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. `hidden` are files made by the watched run, which a trial must not see."""

    script: Script
    folder: str
    seed: int
    steps: int | None = DEFAULT_STEPS
    seconds: float | None = None
    purpose: str = "watch"
    changes: tuple[Change, ...] = ()
    probe: Probe | None = None
    hidden: tuple[str, ...] = ()

    def to_json(self) -> str:
        """As the child reads it."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """As the parent wrote it."""
        raw = json.loads(text)
        script = raw.pop("script")
        probe = raw.pop("probe")
        changes = tuple(Change(**change) for change in raw.pop("changes"))
        return cls(
            script=Script(script["target"], tuple(script["arguments"]), script["as_module"]),
            probe=Probe(**probe) if probe else None,
            changes=changes,
            hidden=tuple(raw.pop("hidden")),
            **raw,
        )
