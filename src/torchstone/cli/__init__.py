"""The command line: arguments to the verbs, exit codes. One file a verb, found by walking this package."""

import importlib
import io
import pkgutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer


def application() -> "typer.Typer":
    """The application with every verb."""
    from torchstone.cli.app import app

    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        importlib.import_module(module.name)
    return app


def main() -> None:
    """The entry point. Everything is imported in here, so that an interrupt while that goes on ends quietly too."""
    try:
        app = application()
        from torchstone.cli.check import separated
        from torchstone.cli.solve_conv import gathered
        from torchstone.cli.trace import formula_last

        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")  # a terminal that has no ✓ gets a question mark, not a traceback
        app(args=formula_last(gathered(separated(sys.argv[1:]))))
    except KeyboardInterrupt:
        sys.exit(130)
