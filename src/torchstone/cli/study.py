"""`torchstone study`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from torchstone.cli.app import app, errors, progress, writable, write


def complete_study(typed: str) -> list[str]:
    """Studies that begin as typed, for the shell."""
    from torchstone.studies.study import all_studies

    return [one.NAME for one in all_studies() if one.NAME.startswith(typed)]


@app.command(
    epilog="Examples:  torchstone study  ·  torchstone study decay --quick  ·  "
    "torchstone study bottleneck-beta --data mnist/ --seeds 3 --out beta/"
)
def study(
    name: Annotated[str | None, typer.Argument(help="A study; none: the list.", autocompletion=complete_study)] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="A size for two minutes on two cores; says what it cannot show.")] = False,
    data: Annotated[Path | None, typer.Option(help="A folder with MNIST in IDX form, gzipped or not.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, max=1000, help="Independent runs of every setting.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where it goes, study-NAME unless named; a stopped study goes on there.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the report to this file as JSON.")] = None,
) -> None:
    """Settle by training what no closed form can: a table with intervals over seeds, plots, a page, and the law's verdict.

    Exit code: 0 if no law is broken (undecided is an answer), 1 if one is, 2 for bad input, 130 when interrupted: the same command
    then goes on where it was stopped.
    """
    with errors():
        writable(json)
        from torchstone.report.study import print_list, print_report, save, to_json

        console = Console(highlight=False)
        if name is None:
            from torchstone.studies.study import all_studies

            print_list(all_studies(), console)
            return
        from torchstone.studies.running import study as run

        with progress("") as bar:
            report = run(name, quick=quick, data=data, seeds=seeds, out=out, progress=bar)
        save(report)
        write(json, to_json(report))
        print_report(report, console)
        raise typer.Exit(report.exit_code)
