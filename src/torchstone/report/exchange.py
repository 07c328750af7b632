"""All-reduce schemes beside each other: a table for people, and JSON."""

import json

from rich.console import Console
from rich.text import Text

from torchstone.laws.exchange.scheme import Scheme
from torchstone.solve.exchange import AllReduces, Row

_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))
_SIZES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def print_all_reduces(found: AllReduces, console: Console) -> None:
    """The question, a line for each scheme, the least possible, and which scheme wins when."""
    for line in all_reduce_lines(found):
        console.print(line, soft_wrap=True, highlight=False)


def all_reduce_lines(found: AllReduces) -> list[Text]:
    """The same, line by line."""
    size = found.parameters * found.bytes_each
    best = f"{found.rows[0].scheme.words} is fastest" if found.workers > 1 else "there is nothing to exchange"
    title = f"{_workers(found.workers)}, {found.parameters:,} parameters ({size_words(size)}) each: {best}"
    more = ["with stragglers"] if found.straggling else []
    rows = [["scheme", "messages", "of", "in all", "busiest sends", "steps", "time", *more]]
    rows += [_cells(row, found) for row in found.rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [Text(title, style="bold")]
    for place, cells in enumerate(rows):
        padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
        padded[0] = cells[0].ljust(widths[0])
        lines.append(Text(f"  {'  '.join(padded)}", style="" if place else "bold"))
    lines.append(Text(f"no scheme's busiest worker sends less than {size_words(found.least_bytes)}: 2(n-1)/n of the buffer"))
    lines += [Text(f"an upper bound, not exact: {reason}", style="yellow") for reason in _reasons(found)]
    return [*lines, Text(_crossing(found)), Text(_model(found), style="dim")]


def _workers(count: int) -> str:
    return f"{count:,} worker{'s' * (count > 1)}"


def _cells(row: Row, found: AllReduces) -> list[str]:
    few, many = row.smallest_message, row.largest_message
    of = size_words(many) if size_words(few) == size_words(many) else f"{size_words(few)} to {size_words(many)}"
    sent = [f"{row.messages:,}", of, size_words(row.total_bytes), size_words(row.busiest_bytes)]
    cells = [row.scheme.words, *sent, f"{row.steps:,}", time_words(row.seconds)]
    if found.straggling:
        cells.append(f"{'' if row.straggling.exact else '≤ '}{time_words(row.straggling.seconds)}")
    return cells


def _reasons(found: AllReduces) -> list[str]:
    if not found.straggling:
        return []
    return list(dict.fromkeys(f"{row.scheme.words}, {row.straggling.reason}" for row in found.rows if not row.straggling.exact))


def _crossing(found: AllReduces) -> str:
    """Which scheme for which size of buffer, with all workers alike."""
    first, *later = found.crossovers
    if not later:
        return f"{first.scheme.words} is fastest for every size"
    words = [f"{first.scheme.words} below {size_words(later[0].first_bytes)}"]
    words += [f"{one.scheme.words} from {size_words(one.first_bytes)}" for one in later]
    return "fastest by size of buffer: " + ", ".join(words)


def _model(found: AllReduces) -> str:
    port = found.bytes_each / found.network.per_number
    said = f"model: {time_words(found.network.latency)} latency, {size_words(port)}/s a port each way, links between all workers"
    crowded = any(row.scheme is Scheme.HALVING_DOUBLING for row in found.rows)
    return said + ("; halving needs long ones, a ring only n: --scheme leaves some out" if crowded else "")


def time_words(seconds: float) -> str:
    """Seconds as people read them.

    >>> time_words(0.0125), time_words(90.0), time_words(0.0)
    ('12.5 ms', '90 s', '0 s')
    """
    unit, word = next((one for one in _TIMES if seconds >= one[0]), (1e-9, "ns")) if seconds else (1.0, "s")
    return f"{seconds / unit:.4g} {word}" if seconds < 1e4 * unit else f"{seconds / unit:,.0f} {word}"


def size_words(size: float) -> str:
    """Bytes as people read them, in powers of 1000.

    >>> size_words(4e9), size_words(1500), size_words(12)
    ('4 GB', '1.5 kB', '12 B')
    """
    unit, word = next((one for one in _SIZES if size >= one[0]), (1.0, "B"))
    return f"{size / unit:.4g} {word}" if size < 1e4 * unit else f"{size / unit:,.0f} {word}"


def to_json(found: AllReduces) -> str:
    """Everything, in bytes and seconds, as indented JSON text."""
    plain = {
        "workers": found.workers,
        "parameters": found.parameters,
        "bytes_each": found.bytes_each,
        "latency": found.network.latency,
        "bandwidth": found.bytes_each / found.network.per_number,
        "late": {str(rank): by for rank, by in found.network.late.items()},
        "slow": {str(rank): by for rank, by in found.network.slow.items()},
        "least_bytes": found.least_bytes,
        "schemes": [_plain(row) for row in found.rows],
        "fastest": [{"from_bytes": one.first_bytes, "scheme": one.scheme.value} for one in found.crossovers],
    }
    return json.dumps(plain, indent=2, allow_nan=False) + "\n"


def _plain(row: Row) -> dict[str, object]:
    return {
        "scheme": row.scheme.value,
        "messages": row.messages,
        "smallest_message": row.smallest_message,
        "largest_message": row.largest_message,
        "total_bytes": row.total_bytes,
        "busiest_bytes": row.busiest_bytes,
        "steps": row.steps,
        "seconds": row.seconds,
        "seconds_with_stragglers": row.straggling.seconds,
        "exact": row.straggling.exact,
        "why_not_exact": row.straggling.reason or None,
    }
