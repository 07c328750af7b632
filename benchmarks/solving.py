"""What `solve conv` costs: CPU time of counting and of ordering every setting, against trying every setting out.

The bar: all kernels, strides, paddings and dilations up to 64 that turn 64 into 32, counted and put in order, in under 50 ms.
Trying out (the law, for every combination) is run on ranges that it can be waited for; both must find the same.

    python benchmarks/solving.py            # the table
    python benchmarks/solving.py --quick    # fewer rounds
"""

import argparse
import itertools
import statistics

from timing import Act, timed

from torchstone.core.errors import InvariantError
from torchstone.laws.convolution.geometry import AxisSpec, output_size, shape_after
from torchstone.solve import conv

Shape = tuple[int, ...]
QUESTIONS: tuple[tuple[Shape, Shape, int], ...] = (
    ((3, 64, 64), (64, 32, 32), 64),
    ((3, 64, 64), (64, 1, 1), 64),
    ((3, 160_000), (8, 80_000), 64),
    ((3, 64, 48), (64, 32, 20), 64),
    ((3, 64, 64, 64), (64, 32, 32, 32), 64),
    ((3, 64, 64), (64, 32, 32), 256),
)


def milliseconds(work: Act, rounds: int) -> list[float]:
    """CPU time of each round."""
    return [1e3 * timed(work) for _ in range(rounds)]


def middle(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def try_out(shape: Shape, output: Shape, most: int) -> set[AxisSpec]:
    """Every setting, by the law."""
    found = set()
    positive = range(1, most + 1)
    for k, s, d, p in itertools.product(positive, positive, positive, range(most + 1)):
        if k == 1 and d > 1:
            continue  # the same layer as with dilation 1
        axis = AxisSpec(k, s, (p, p), d)
        try:
            fits = shape_after(shape[1:], [axis] * (len(shape) - 1)) == output[1:]
        except InvariantError:
            continue
        found |= {axis} if fits else set()
    return found


def ask(rounds: int) -> None:
    """Counting, the first twenty, and the whole order where it is not too long to be read."""
    print("| question | up to | settings | count, ms | first 20, ms | all in order, ms |")
    print("|---|---|---|---|---|---|")
    for shape, output, most in QUESTIONS:
        found = conv(shape, output, maximum=most)
        times = rounds if found.total < 100_000 else 3
        counting = milliseconds(lambda: conv(shape, output, maximum=most).total, times)  # noqa: B023 - run at once
        few = milliseconds(lambda: conv(shape, output, maximum=most)[:20], times)  # noqa: B023
        whole = "-"
        if found.total < 100_000:
            whole = middle(milliseconds(lambda: list(conv(shape, output, maximum=most)), times))  # noqa: B023
        title = f"{'x'.join(map(str, shape))} → {'x'.join(map(str, output))}"
        print(f"| {title} | {most} | {found.total:,} | {middle(counting)} | {middle(few)} | {whole} |", flush=True)


def compare(rounds: int) -> None:
    """The search beside trying everything out; they must agree."""
    print("\n| 3x64 → 64x32, up to | settings | search, ms | trying out, ms | ratio |")
    print("|---|---|---|---|---|")
    for most in (4, 8, 16):
        shape, output = (3, 64), (64, 32)
        assert {one.spec.axes[0] for one in conv(shape, output, maximum=most)} == try_out(shape, output, most)
        search = milliseconds(lambda: list(conv(shape, output, maximum=most)), rounds)  # noqa: B023
        tried = milliseconds(lambda: try_out(shape, output, most), 3)  # noqa: B023
        ratio = statistics.median(tried) / statistics.median(search)
        total = conv(shape, output, maximum=most).total
        print(f"| {most} | {total} | {middle(search)} | {middle(tried)} | {ratio:.0f} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    rounds = 5 if parser.parse_args().quick else 25
    assert output_size(64, AxisSpec(8, 2, (3, 3))) == 32
    print("CPU time, median (range)")
    ask(rounds)
    compare(rounds)


if __name__ == "__main__":
    main()
