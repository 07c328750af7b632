"""What a small language model forgets when it is adapted, by which way of adapting it, and which defences help.

A decoder of a million parameters learns docstrings of Python's standard library, then torch's own sources. Forgetting is the rise
of the loss on held-out docstrings over the base model's own, in nats a token, with the adaptation in place (a prompt or an adapter
can also be taken away, and then nothing is forgotten); gain is the fall of the loss on held-out torch files.

Ways: 10 soft prompt tokens, adapters of rank 8 beside every matrix, all parameters; AdamW, one learning rate a way. The
law speaks of where runs end; a way that learns less also forgets less, so question D7a is answered at equal gain as well: curves
of forgetting are read at the least final gain of the two.

Defences: adapters of the last block learn a start over many tasks (Reptile, 10 inner steps). A task is one torch file and a loss of
its own, the token after the next behind a window. Read as: (1) the original loss on docstrings is added to each meta step; (2) the
original loss, the next token's, on the tasks' own windows is added; (3) lora_B, the documents' A, is set to zero behind
meta-learning. Each is then adapted to unseen files: forgetting behind that (`start`: before it), and the gain over fresh adapters.

What came out (`torchstone study forgetting`, 3 seeds, 267 CPU s on one core, torch 2.13; recorded/forgetting.jsonl), nats a token:

- after 72 steps a soft prompt forgets 0.045 ±0.053 and gains 0.08 ±0.06, adapters 0.125 ±0.063 and 0.30 ±0.04, full tuning 0.200
  ±0.050 and 0.77 ±0.04: the order holds in each of the three seeds. At equal gain it is undecided, and not in favour of the two
  that change less: a soft prompt forgets 0.037 ±0.042 more than full tuning, adapters 0.061 ±0.081 more.
- a learned start forgets 0.146 ±0.060 without defence, 0.069 ±0.039 with original data, 0.093 ±0.060 with the tasks' own, 0.033
  ±0.020 with a reset, at gains that the seeds do not tell apart (1.9 to 2.2, ±1.2).

Limits: a million parameters, 320 steps of base training, one learning rate a way.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from torchstone.core.evidence import Evidence
from torchstone.core.quantity import Amount
from torchstone.core.study import Curve, Interval, Outcome, Outcomes, Plot, Setting, interval
from torchstone.parts import Reptile, SoftPrompt, add_lora
from torchstone.studies.data.texts import evenly, windows
from torchstone.studies.judging import below, near
from torchstone.studies.models.language import Base, LanguageModel, drawn, held_out, loss_of, prepared, train
from torchstone.studies.models.tasks import after, learner, tasks_of, with_adapters
from torchstone.studies.study import Tools, measured

NAME = "forgetting"
QUESTION = "Which way of adapting a language model forgets most, and which defences help?"
SETTLES = ("D7a", "D7d")
FIGURES = {"forgetting": "forgetting [nats a token]", "start": "forgetting before adapting", "gain": "gain [nats a token]"}
QUICK = "the base model has hardly learned what it could forget, and two seeds decide little"
OWN_DATA = "docstrings of the standard library and torch's sources"

PROMPT, ADAPTERS, FULL = "soft prompt", "adapters", "full tuning"
RATES = {PROMPT: 3e-2, ADAPTERS: 3e-3, FULL: 5e-4}
NONE, ORIGINAL, OWN, RESET = "no defence", "original data", "tasks' data", "reset"
DEFENCES = (NONE, ORIGINAL, OWN, RESET)
BASE, QUICK_BASE, ADAPTING, QUICK_ADAPTING, META, QUICK_META = 320, 40, 72, 12, 40, 8
PROMPT_TOKENS, RANK, ROWS, BATCH = 10, 8, 64, 16
INNER_RATE, INNER_STEPS, META_RATE, TASKS, EXAMPLES, TESTED = 0.1, 10, 3e-3, 4, 32, 6
_MATRICES = ["query", "key", "value", "out", "up", "down"]
_LAW, _DEFENCE = "adaptation.forgetting", "adaptation.defended"


def settings(*, quick: bool) -> Sequence[Setting]:
    """The three ways, then the defences."""
    ways = [Setting(name, {"rate": rate, "steps": QUICK_ADAPTING if quick else ADAPTING}) for name, rate in RATES.items()]
    return ways + [Setting(name, {"steps": QUICK_META if quick else META}) for name in DEFENCES]


def run(setting: Setting, seed: int, tools: Tools) -> Outcome:
    """Adapt the seed's base model in one way, or learn a start under one defence."""
    base = Base(QUICK_BASE if tools.quick else BASE)
    texts, model = prepared(base, seed, tools)
    held = tuple(evenly(texts[name], base.length + 1, ROWS) for name in ("original_test", "new_test"))
    return (_defended if setting.name in DEFENCES else _adapted)(setting, seed, tools, texts, model, held)


def _adapted(
    setting: Setting, seed: int, tools: Tools, texts: dict[str, Tensor], model: LanguageModel, held: tuple[Tensor, ...]
) -> Outcome:
    before = [held_out(model, rows) for rows in held]  # of the base model: a fresh prompt is another one
    prompt = _opened(setting.name, model, texts, seed)
    steps = int(setting.values["steps"])
    looks = [steps * part // 12 for part in (0, 1, 2, 3, 4, 6, 8, 12)]

    def descend(source: torch.Generator) -> None:
        torch.autograd.backward(loss_of(model, windows(texts["new_train"], held[0].shape[1], BATCH, source), prompt))

    def look() -> list[float]:
        original, new = (held_out(model, rows, prompt) for rows in held)
        return [original - before[0], before[1] - new]

    both = nn.ModuleList([model] if prompt is None else [model, prompt])
    seen = train(both, descend, look, looks, float(setting.values["rate"]), seed, tools, setting.name)
    curves = {name: tuple((row[0], round(row[place], 5)) for row in seen) for place, name in ((2, "forgetting"), (3, "gain"))}
    return measured({"forgetting": seen[-1][2], "start": seen[0][2], "gain": seen[-1][3]}, curves)


def _opened(name: str, model: LanguageModel, texts: dict[str, Tensor], seed: int) -> SoftPrompt | None:
    """Let a way's parameters require a gradient, and no others."""
    if name == ADAPTERS:
        drawn(lambda: add_lora(model, _MATRICES, RANK), seed)
    elif name == PROMPT:
        model.requires_grad_(requires_grad=False)
        return SoftPrompt.from_embedding(model.embedding, texts["new_train"][seed, :PROMPT_TOKENS].long())
    return None


def _defended(
    setting: Setting, seed: int, tools: Tools, texts: dict[str, Tensor], model: LanguageModel, held: tuple[Tensor, ...]
) -> Outcome:
    before = held_out(model, held[0])
    model = with_adapters(model, seed)
    top = learner(model, INNER_RATE, INNER_STEPS)
    tests = tasks_of(model, texts["new_test"], TESTED, 4 * EXAMPLES, torch.Generator().manual_seed(10_000 + seed))
    _, fresh = after(top, tests)
    learned = NONE if setting.name == RESET else setting.name
    start = tools.shared(f"{learned.replace(' ', '-')}-{seed}", lambda: _meta(learned, setting, seed, tools, texts, model, held))
    model.load_state_dict(start, strict=False)
    if setting.name == RESET:
        start = {name: torch.zeros_like(one) if name.endswith("lora_B") else one for name, one in start.items()}
        model.load_state_dict(start, strict=False)
    forgotten = held_out(model, held[0]) - before
    adapted, loss = after(top, tests)
    found = []
    for task in range(TESTED):
        top.model.load_state_dict({name: one[task] for name, one in adapted.items()}, strict=False)
        found.append(held_out(model, held[0]) - before)
    return measured({"forgetting": sum(found) / TESTED, "start": forgotten, "gain": fresh - loss})


def _meta(
    name: str, setting: Setting, seed: int, tools: Tools, texts: dict[str, Tensor], model: LanguageModel, held: tuple[Tensor, ...]
) -> dict[str, Tensor]:
    """The factors that Reptile ends at, the defence's loss among what it descends."""
    top = learner(model, INNER_RATE, INNER_STEPS)
    reptile = Reptile(top.model, top.loss, inner_lr=INNER_RATE, inner_steps=INNER_STEPS)

    def descend(source: torch.Generator) -> None:
        tasks = tasks_of(model, texts["new_train"], TASKS, EXAMPLES, source)
        reptile.backward(tasks.inputs, tasks.answers)
        rows = windows(texts["original_train"], held[0].shape[1], BATCH, source)  # drawn under each defence: equal tasks follow
        if name != NONE:
            text = rows if name == ORIGINAL else tasks.rows[..., :-1].flatten(0, 1)
            torch.autograd.backward(loss_of(model, text))

    train(model, descend, None, [int(setting.values["steps"])], META_RATE, seed, tools, name)
    return {name: one.detach().clone() for name, one in model.named_parameters() if one.requires_grad}


def at_gain(run: Outcome, gain: float) -> float:
    """Forgetting where a run first has that gain, on the line between two looks; not a number where it never has."""
    points = [(g, f) for (_, g), (_, f) in zip(run.curves["gain"], run.curves["forgetting"], strict=True)]
    for (low, one), (high, other) in itertools.pairwise(points):
        if low <= gain <= high:
            return one + (other - one) * (gain - low) / (high - low) if high > low else one
    return math.nan


def more_forgotten(outcomes: Outcomes, one: str, other: str) -> Interval:
    """How much more one way forgets than another at equal gain: the least final gain of the two, seed by seed."""
    second = {run.seed: run for run in outcomes.of(other)}
    found = []
    for run in outcomes.of(one):
        if run.seed in second:
            gain = min(each.curves["gain"][-1][1] for each in (run, second[run.seed]))
            found.append(at_gain(run, gain) - at_gain(second[run.seed], gain))
    return interval([value for value in found if math.isfinite(value)] or [math.nan])


def judge(outcomes: Outcomes, *, quick: bool) -> Iterator[Evidence]:
    """Each confined way against full tuning where runs end; original data and the reset against no defence."""
    del quick
    for name in (PROMPT, ADAPTERS):
        found = outcomes.difference(name, FULL, "forgetting")
        yield below(_LAW, 0.0, found, f"{name} against {FULL}: more forgotten after equally many steps, at most")
    for name in (ORIGINAL, RESET):
        found = outcomes.difference(name, NONE, "forgetting")
        yield below(_DEFENCE, 0.0, found, f"{name}: more forgotten than without, at most")
    kept = outcomes.interval(RESET, "start")
    single = Amount(1e-5, "sums of a fused product in float32")
    yield near("adaptation.fresh_output", 0.0, kept, f"{RESET}: forgotten before adapting", rival=1e-3, model=single)


def plots(outcomes: Outcomes) -> Iterator[Plot]:
    """Forgetting over gain for each way, and over the steps; the defences as points."""
    def pair(name: str) -> Curve:
        gain, lost = (outcomes.mean_curve(name, what) for what in ("gain", "forgetting"))
        return tuple((x, y) for (_, x), (_, y) in zip(gain, lost, strict=True))

    title = "Forgetting over gain while adapting, means of all seeds"
    pairs = {name: pair(name) for name in RATES}
    yield Plot("forgetting-over-gain", title, "gain, nats a token", "forgetting, nats a token", pairs)
    for what in ("forgetting", "gain"):
        series = {name: outcomes.mean_curve(name, what) for name in RATES}
        widths = {name: _widths(outcomes, name, what, curve) for name, curve in series.items()}
        yield Plot(what, f"{what.capitalize()}, mean and 95 % interval", "step", "nats a token", series, widths)
    points = {
        name: tuple((run.figures["gain"], run.figures["forgetting"]) for run in outcomes.of(name)) for name in DEFENCES
    }
    yield Plot("defences", "Defences: a point a seed", "gain, nats", "forgetting, nats a token", points, points=True)


def _widths(outcomes: Outcomes, name: str, what: str, curve: Curve) -> tuple[float, ...]:
    found = [dict(run.curves[what]) for run in outcomes.of(name)]
    halves = [interval([one[x] for one in found]).half_width for x, _ in curve]
    return cast("tuple[float, ...]", tuple(half if math.isfinite(half) else 0.0 for half in halves))
