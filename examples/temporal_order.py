"""Learn the order of two symbols that stand far apart: a recurrent classifier of four classes.

A sequence is E, then noise from a, b, c and d, then B. Two of its symbols are X or Y: one early, one in the middle. The class
is their order: XX, XY, YX or YY. Nothing about it can be seen from the last symbols, so the answer must be carried through
time (Hochreiter and Schmidhuber 1997, section 5.6, "temporal order", shortened).

    python temporal_order.py                        learns it in a few hundred steps
    python temporal_order.py --rate 1.5 --clip 0    the same with large steps: the loss jumps above its start
    python temporal_order.py --rate 1.5             the same steps with clipped gradients: no jump
    python temporal_order.py --rate 0.2 --clip 0    small steps need no clipping

The loss starts at ln 4 = 1.386 and the accuracy at 1/4: four classes, and nothing known yet.
"""

import argparse
import csv
import math
import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from torchstone.parts import AttentionRNN, GatedRNN
from torchstone.problems.curves import curves

SYMBOLS = "abcdXYEB"
NOISE, FIRST_TOLD, BEGIN, END = 4, 4, 6, 7  # how many noise symbols; the numbers of X, E and B
CLASSES = 4
HIGHEST_DRAWN = 4.0  # nats; where a loss explodes, a curve to scale would show nothing else


# ---- data ----------------------------------------------------------------------------------------
# Shapes: b batch, t time, n symbols, m units.


def draw(batch: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random sequences (b, t) of symbol numbers, and the class (b) of each."""
    sequences = torch.randint(NOISE, (batch, length), generator=generator)
    sequences[:, 0], sequences[:, -1] = BEGIN, END
    told = torch.randint(2, (batch, 2), generator=generator)  # 0 is X, 1 is Y
    rows, tenth = torch.arange(batch), length // 10
    for number, begin in enumerate((tenth, 5 * tenth)):
        places = begin + torch.randint(tenth, (batch,), generator=generator)
        sequences[rows, places] = FIRST_TOLD + told[:, number]
    return sequences, 2 * told[:, 0] + told[:, 1]


# ---- model ---------------------------------------------------------------------------------------


class Classifier(nn.Module):
    """A recurrent network reads the symbols; its last state is turned into one logit a class."""

    def __init__(self, cell: str, units: int, length: int) -> None:
        super().__init__()
        self.cell = recurrent(cell, units, length)
        self.head = nn.Linear(units, CLASSES)

    def forward(self, sequences: Tensor) -> Tensor:
        """The logits (b, 4) of sequences (b, t)."""
        states, _ = self.cell(functional.one_hot(sequences, len(SYMBOLS)).float())  # (b, t, m)
        logits: Tensor = self.head(states[:, -1])
        return logits


def recurrent(cell: str, units: int, length: int) -> nn.Module:
    """The network of that name. Gates are opened at the start, each for a time of its own (Tallec and Ollivier 2018)."""
    memory = torch.empty(units).uniform_(1, length - 1).log()
    if cell == "gated":
        gated = GatedRNN(len(SYMBOLS), units, bias=True, batch_first=True)
        with torch.no_grad():
            gated.bias.zero_()
            gated.bias[:units] = memory  # keeps the share sigmoid(memory) of its state: for e^memory steps
        return gated
    if cell == "lstm":
        lstm = nn.LSTM(len(SYMBOLS), units, batch_first=True)
        with torch.no_grad():
            lstm.bias_ih_l0[units : 2 * units] = memory  # the forget gate
            lstm.bias_ih_l0[:units] = -memory  # the input gate
        return lstm
    if cell == "attention":
        return AttentionRNN(len(SYMBOLS), units, window=math.inf, batch_first=True)
    return nn.RNN(len(SYMBOLS), units, batch_first=True)


# ---- training ------------------------------------------------------------------------------------


class Step(NamedTuple):
    """What one step showed, before its update: the loss in nats, the share of right answers, the gradient's norm."""

    loss: float
    accuracy: float
    gradient: float


def train(model: Classifier, arguments: argparse.Namespace) -> list[Step]:
    """Gradient descent with momentum, and clipped gradients if asked for."""
    optimizer = torch.optim.SGD(model.parameters(), lr=arguments.rate, momentum=0.9)
    generator = torch.Generator().manual_seed(arguments.seed)
    clip = arguments.clip or math.inf
    history: list[Step] = []
    for step in range(arguments.steps):
        sequences, classes = draw(arguments.batch, arguments.length, generator)
        logits = model(sequences)
        loss = functional.cross_entropy(logits, classes)
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        accuracy = (logits.argmax(dim=1) == classes).float().mean()
        history.append(Step(loss.item(), accuracy.item(), norm.item()))
        if step % arguments.report == 0 or step == arguments.steps - 1:
            report(step, history[-1])
        if not math.isfinite(history[-1].loss):
            print("the loss is no number any more: try a smaller --rate, or --clip 0.1")
            break
    return history


def report(step: int, told: Step) -> None:
    """One line."""
    print(f"step {step:5d}  loss {told.loss:8.4g}  accuracy {told.accuracy:4.2f}  gradient {told.gradient:8.4g}", flush=True)


def conclude(history: list[Step], seconds: float) -> None:
    """The start against the law of uniform guessing, and the highest loss against the start."""
    first, last = history[0], history[-50:]
    highest = max(range(len(history)), key=lambda step: history[step].loss)
    print(f"\nstart    loss {first.loss:.4f} (ln 4 = {math.log(CLASSES):.4f})  accuracy {first.accuracy:.2f} (1/4)")
    above = history[highest].loss - first.loss
    print(f"highest  loss {history[highest].loss:.4g} at step {highest}, {above:.4g} nats above the start")
    mean = [sum(step[column] for step in last) / len(last) for column in range(2)]
    print(f"end      loss {mean[0]:.4f}  accuracy {mean[1]:.2f}  ({seconds:.1f} s)")


def write(history: list[Step], folder: Path) -> None:
    """Every number as CSV, and the two curves as SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "curves.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("step", *Step._fields))
        rows.writerows((step, *numbers) for step, numbers in enumerate(history))
    uniform = math.log(CLASSES)
    drawn = {
        "loss": {"loss": [min(step.loss, HIGHEST_DRAWN) for step in history], "ln 4": [uniform] * len(history)},
        "accuracy": {"accuracy": [step.accuracy for step in history], "1/4": [1 / CLASSES] * len(history)},
    }
    for name, series in drawn.items():
        title = f"{name}, losses above {HIGHEST_DRAWN:g} cut" if name == "loss" else name
        drawing = curves(title, {label: list(enumerate(numbers)) for label, numbers in series.items()}, "step")
        (folder / f"{name}.svg").write_text(drawing.svg)
    print(f"curves   {folder / 'loss.svg'}, {folder / 'accuracy.svg'}, {folder / 'curves.csv'}")


# ---- command line --------------------------------------------------------------------------------


def parse_arguments() -> argparse.Namespace:
    """The command line, or exit code 2 and the reason."""
    parser = argparse.ArgumentParser(
        description="Train a recurrent network to tell the order of two symbols far apart.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--steps", type=int, default=600, help="batches to learn from")
    add("--cell", choices=("gated", "lstm", "rnn", "attention"), default="gated", help="the recurrent network")
    add("--rate", type=float, default=0.5, help="learning rate")
    add("--clip", type=float, default=0.1, help="largest norm of the gradient; 0 leaves it alone")
    add("--units", type=int, default=32, help="size of the state")
    add("--length", type=int, default=30, help="symbols in a sequence, 10 or more")
    add("--batch", type=int, default=64, help="sequences in a batch")
    add("--seed", type=int, default=0, help="the same seed gives the same run")
    add("--report", type=int, default=50, help="print every so many steps")
    add("--out", type=Path, metavar="FOLDER", help="write loss.svg, accuracy.svg and curves.csv there")
    arguments = parser.parse_args()
    whole = ("steps", "units", "batch", "report")
    if any(getattr(arguments, name) < 1 for name in whole):
        parser.error(f"--{', --'.join(whole)} must be 1 or more")
    if arguments.length < 10:  # noqa: PLR2004 - a tenth of it is one place
        parser.error(f"--length must be 10 or more; {arguments.length} came")
    if not 0 < arguments.rate < math.inf or not 0 <= arguments.clip < math.inf:
        parser.error("--rate must be a positive number, and --clip one of 0 or more")
    return arguments


def main() -> None:
    """Train, conclude, and write the curves if asked."""
    arguments = parse_arguments()
    torch.manual_seed(arguments.seed)
    model = Classifier(arguments.cell, arguments.units, arguments.length)
    began = time.perf_counter()
    history = train(model, arguments)
    conclude(history, time.perf_counter() - began)
    if arguments.out:
        write(history, arguments.out)


if __name__ == "__main__":
    main()
