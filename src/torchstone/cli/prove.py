"""`torchstone prove`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from torchstone.cli.app import apart, app, errors, progress, writable, write


def complete_law(typed: str) -> list[str]:
    """Laws and topics that begin as typed, for the shell."""
    import torchstone.laws  # noqa: F401 - registers every law
    from torchstone.core.law import all_laws

    names = {law.name for law in all_laws()} | {law.topic for law in all_laws()}
    return sorted(name for name in names if name.startswith(typed))


@app.command(
    epilog="Examples:  torchstone prove  ·  torchstone prove convolution --mutants  ·  torchstone prove activation.two_class_logit"
)
def prove(
    name: Annotated[str | None, typer.Argument(help="A law or a topic; none: all of them.", autocompletion=complete_law)] = None,
    *,
    mutants: Annotated[bool, typer.Option("--mutants", help="Also hold each law against parts broken on purpose.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Where the random draws begin.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the proofs to this file as JSON.")] = None,
    latex: Annotated[Path | None, typer.Option(help="Write the table to this file as LaTeX.")] = None,
) -> None:
    """Hold laws against their running parts: exactly, in float64, by sympy, adversarially or statistically.

    Exit code: 0 if every law holds and none is toothless, 1 if not, 2 for bad input.
    """
    with errors():
        apart(json, latex)
        writable(json)
        writable(latex, "--latex")
        from torchstone.proofs.proving import prove as run
        from torchstone.report.proof import print_proofs, to_json, to_latex

        with progress("laws") as bar:
            report = run(name, mutants=mutants, seed=seed, progress=bar)
        # Files first: a reader of the table that goes away (`| head`) does not cost them.
        write(json, to_json(report))
        write(latex, to_latex(report))
        print_proofs(report, Console(highlight=False))
        raise typer.Exit(report.exit_code)
