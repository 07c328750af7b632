"""The command line: arguments to the verbs, exit codes. One file a verb, found by walking this package."""

import importlib
import io
import pkgutil
import sys

from torchstone.cli.app import app

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)


def main() -> None:
    """The entry point."""
    from torchstone.cli.check import separated
    from torchstone.cli.solve_conv import gathered
    from torchstone.cli.trace import formula_last

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no ✓ gets a question mark, not a traceback
    app(args=formula_last(gathered(separated(sys.argv[1:]))))
