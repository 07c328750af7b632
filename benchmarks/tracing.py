"""How long `trace` takes for formulas of 1,000 operations: parsed, differentiated both ways, every row held against torch.

The peer of the same run is torch itself: value and gradient of the same formula by torch.func.vjp, one call an operation.
The first call in a process also loads what torch.func needs; it is timed apart.

    python benchmarks/tracing.py            # the table
    python benchmarks/tracing.py --quick    # fewer rounds
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from torchstone.report.trace import to_json, to_latex
from torchstone.traces.expression import parse
from torchstone.traces.table import Trace
from torchstone.traces.tracing import trace
from torchstone.traces.verification import in_torch_at

FORMULAS = {
    "sum of 250 terms": " + ".join(f"sin(x{i % 6})*{i + 1}/x{(i + 1) % 6}" for i in range(250)),
    "product of 500 factors": "*".join(f"(x{i % 6} + {1 + i / 500:g})" for i in range(500)),
    "sin of sin, 999 deep": "sin(" * 999 + "x0" + ")" * 999,
    "one sum of 1,000 variables": " + ".join(f"y{i}" for i in range(1000)),
}


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _reported(found: Trace) -> int:
    return len(str(found)) + len(to_json(found)) + len(to_latex(found))


def compare(name: str, formula: str, rounds: int) -> None:
    """One row of the table: medians of interleaved calls."""
    parsed = parse(formula)
    at = {variable: 0.5 + 0.1 * (i % 6) for i, variable in enumerate(parsed.variables)}
    times: dict[str, list[float]] = {"parse": [], "torch": [], "trace": [], "report": []}
    for _ in range(rounds):
        times["parse"].append(seconds(lambda: parse(formula)))
        times["torch"].append(seconds(lambda: in_torch_at(parsed, tuple(at.values()))))
        times["trace"].append(seconds(lambda: trace(formula, at)))
        found = trace(formula, at)
        times["report"].append(seconds(partial(_reported, found)))
        assert found.verification is not None
        assert not found.failed
    half = {key: statistics.median(values) for key, values in times.items()}
    cells = " | ".join(f"{1000 * value:.0f}" for value in half.values())
    print(f"| {name} | {len(parsed.rows)} | {cells} | {half['trace'] / half['torch']:.1f} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    rounds = 3 if parser.parse_args().quick else 9
    torch.set_num_threads(1)
    first = seconds(lambda: trace("x*y", {"x": 1, "y": 2}))
    print(f"torch {torch.__version__}, one thread; the first trace of the process takes {first:.2f} s (torch.func's own imports)")
    print("| formula | rows | parse ms | torch vjp ms | trace ms, verified | text, JSON and LaTeX ms | trace / torch |")
    print("|---|---|---|---|---|---|---|")
    for name, formula in FORMULAS.items():
        compare(name, formula, rounds)


if __name__ == "__main__":
    main()
