"""What the recurrent parts cost beside the products that nobody can leave out, a bare loop, and torch.nn: CPU time of one thread.

The floor is what the definition's products cost alone: all inputs' in one, one small one a step, and three times that forward and
backward. "loop" is the definition as people write it, every product in its step, left to autograd. nn.RNN and nn.GRU, one and three
gates, stand beside. AttentionRNN can go below its floor: w = h'Fh is one product where queries and keys are two.

T = 512, batch 32, 128 features, float32. A ratio is how many times the floor's time each takes, median (quartiles); "again" is the
floor a second time, the A/A control.

    python benchmarks/recurrence.py            # the tables
    python benchmarks/recurrence.py --quick    # fewer rounds, and no bare loops
"""

import argparse
import math
import statistics
from collections.abc import Callable, Mapping

import torch
from timing import Act, interleaved, ratio
from torch import Tensor, nn

from torchstone.parts import RNN, AttentionRNN, GatedRNN

STEPS, BATCH, WIDTH = 512, 32, 128
Loop = Callable[[Tensor], Tensor]


def floor(inputs: Tensor, of_input: int, of_state: int, times: int) -> Act:
    """The products alone: `of_input` matrices for all inputs at once, `of_state` a step, all of it `times` over."""
    flat, state = inputs.detach().reshape(-1, WIDTH), torch.randn(BATCH, WIDTH)
    first, each = torch.randn(WIDTH, of_input * WIDTH), torch.randn(WIDTH, of_state * WIDTH)

    def act() -> None:
        for _ in range(times):
            torch.mm(flat, first)
            for _ in range(STEPS):
                torch.mm(state, each)

    return act


def gated_loop(network: GatedRNN) -> Loop:
    """The definition, three products a step."""

    def run(inputs: Tensor) -> Tensor:
        state, states = inputs.new_zeros(BATCH, WIDTH), []
        for x in inputs:
            gate = torch.sigmoid(x @ network.weight_ih[:WIDTH].t() + state @ network.weight_hh.t())
            state = gate * state + (1 - gate) * (x @ network.weight_ih[WIDTH:].t())
            states.append(state)
        return torch.stack(states)

    return run


def attention_loop(network: AttentionRNN) -> Loop:
    """The definition, 3 (k + 1) products a step."""

    def run(inputs: Tensor) -> Tensor:
        past, states = [inputs.new_zeros(BATCH, WIDTH) for _ in range(network.slots)], []
        for x in inputs:
            scores = [((x @ network.query_ih.t()) * (x @ network.key_ih.t())).sum(-1)]
            values = [x @ network.value_ih.t()]
            for state, query, key, value in zip(past, network.query_hh, network.key_hh, network.value_hh, strict=True):
                scores.append(((state @ query.t()) * (state @ key.t())).sum(-1))
                values.append(state @ value.t())
            shares = torch.softmax(torch.stack(scores), 0)
            states.append((shares.unsqueeze(-1) * torch.stack(values)).sum(0))
            past = [states[-1], *past[:-1]]
        return torch.stack(states)

    return run


def forward(run: Loop, inputs: Tensor) -> Act:
    """One forward pass without a graph."""

    def act() -> None:
        with torch.no_grad():
            run(inputs)

    return act


def both(network: nn.Module, run: Loop, inputs: Tensor, gradient: Tensor) -> Act:
    """Forward and backward, to the input and every weight."""

    def act() -> None:
        torch.autograd.backward(run(inputs), gradient)
        inputs.grad = None
        network.zero_grad()

    return act


def row(name: str, sizes: tuple[int, int], runs: Mapping[str, tuple[nn.Module, Loop]], rounds: int) -> None:
    """A line of the table for forward, and one for forward and backward."""
    inputs = torch.randn(STEPS, BATCH, WIDTH, requires_grad=True)
    gradient = torch.randn(STEPS, BATCH, WIDTH)
    for way, times in (("forward", 1), ("forward + backward", 3)):
        acts: dict[str, Act] = {one: floor(inputs, *sizes, times) for one in ("floor", "again")}
        for one, (network, run) in runs.items():
            acts[one] = forward(run, inputs) if times == 1 else both(network, run, inputs, gradient)
        seconds = interleaved(acts, rounds)
        cells = ", ".join(f"{one} {ratio(seconds[one], seconds['floor'])}" for one in acts if one != "floor")
        print(f"| {name} | {way} | {1e3 * statistics.median(seconds['floor']):.1f} | {cells} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and no bare loops")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rounds = 3 if quick else 7
    print(f"torch {torch.__version__}, one thread, CPU time; T {STEPS}, batch {BATCH}, {WIDTH} features; times the floor\n")
    print("| part | pass | floor ms | times the floor: median (quartiles) |\n|---|---|---|---|")

    def states(network: nn.Module) -> tuple[nn.Module, Loop]:
        return network, lambda inputs: network(inputs)[0]

    plain, gated = RNN(WIDTH, WIDTH), GatedRNN(WIDTH, WIDTH)
    row("RNN", (1, 1), {"ours": states(plain), "nn.RNN": states(nn.RNN(WIDTH, WIDTH))}, rounds)
    loops: dict[str, tuple[nn.Module, Loop]] = {} if quick else {"loop": (gated, gated_loop(gated))}
    row("GatedRNN", (2, 1), {"ours": states(gated), "nn.GRU": states(nn.GRU(WIDTH, WIDTH)), **loops}, rounds)
    for window in (2, 8):
        attention = AttentionRNN(WIDTH, WIDTH, window)
        loops = {} if quick else {"loop": (attention, attention_loop(attention))}
        row(f"AttentionRNN({window})", (3, 3 * window), {"ours": states(attention), **loops}, rounds)
    row("AttentionRNN(infinity)", (3, 3), {"ours": states(AttentionRNN(WIDTH, WIDTH, math.inf))}, rounds)


if __name__ == "__main__":
    main()
