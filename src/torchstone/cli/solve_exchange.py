"""`torchstone solve exchange`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from torchstone.cli.app import errors, solving, writable, write

_LATE = "RANK:TIME. This worker begins later, as in 3:50ms; may be repeated."
_SLOW = "RANK:FACTOR. All that this worker sends and receives takes so many times longer; may be repeated."
_SCHEME = "Only these compete; may be repeated. [default: all but a separate server]"


def complete_scheme(typed: str) -> list[str]:
    """Schemes that begin as typed, for the shell."""
    from torchstone.laws.exchange import Scheme

    return [scheme.value for scheme in Scheme if scheme.whole and scheme.value.startswith(typed)]


@solving.command(
    "exchange",
    epilog="Examples:  torchstone solve exchange --workers 64 --parameters 1e9  ·  torchstone solve exchange --workers 100000 "
    "--parameters 7B --bytes 2 --latency 5us --bandwidth 400Gbit/s --slow 17:1.5 --late 3:50ms",
)
def exchange(  # noqa: PLR0913 - one parameter an option
    *,
    workers: Annotated[int, typer.Option(help="How many workers exchange gradients.")],
    parameters: Annotated[str, typer.Option(help="How many parameters each has: 25557032, 1e9 or 7B.")],
    latency: Annotated[str, typer.Option(help="What each message takes beside its bytes.")] = "10us",
    bandwidth: Annotated[str, typer.Option(help="Of a worker's port, each way: 10GB/s or 100Gbit/s.")] = "10GB/s",
    size: Annotated[int, typer.Option("--bytes", help="Bytes of one parameter: 2 in half precision.")] = 4,
    late: Annotated[list[str] | None, typer.Option(metavar="RANK:TIME", help=_LATE)] = None,
    slow: Annotated[list[str] | None, typer.Option(metavar="RANK:FACTOR", help=_SLOW)] = None,
    scheme: Annotated[list[str] | None, typer.Option(help=_SCHEME, autocompletion=complete_scheme)] = None,
    json: Annotated[Path | None, typer.Option(help="Write the table to this file as JSON.")] = None,
) -> None:
    """Compare all-reduce schemes: messages, bytes, time, what stragglers do to it, and which scheme wins for which size.

    Exit code: 0, or 2 for bad input.
    """
    from torchstone.report.exchange import print_all_reduces, to_json
    from torchstone.solve.exchange.asking import COMPETING, all_reduce

    with errors():
        writable(json)
        paces = {rank: _factor(by) for rank, by in _ranked(slow, "--slow").items()}
        found = all_reduce(
            workers, parameters, latency=latency, bandwidth=bandwidth, bytes_each=size, late=_ranked(late, "--late"), slow=paces,
            schemes=scheme or COMPETING,
        )  # fmt: skip
        write(json, to_json(found))
        print_all_reduces(found, Console(highlight=False))


def _ranked(words: list[str] | None, option: str) -> dict[int, str]:
    """Ranks and what was said of each; raises UsageError for what is no rank, and for one named twice.

    >>> _ranked(["3:50ms", "7:1s"], "--late")
    {3: '50ms', 7: '1s'}
    """
    from torchstone.core.errors import UsageError

    found: dict[int, str] = {}
    for word in words or ():
        rank, colon, said = word.partition(":")
        if not (rank.strip().isdecimal() and colon and said) or int(rank) in found:
            message = f"{option} is a rank, a colon and an amount, once for each rank; {word!r} came: write it as 3:2"
            raise UsageError(message)
        found[int(rank)] = said
    return found


def _factor(word: str) -> float:
    from torchstone.solve.exchange.asking import amount

    return amount(word, "slowness", {"": 1, "x": 1}, least=1)
