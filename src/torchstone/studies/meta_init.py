"""MAML with ten inner steps or Reptile with large batches: which learns the start of adapters at less cost.

A small language model, trained on the standard library's docstrings, gets adapters of rank 4 beside the matrices of its last block.
A task is one of torch's files: the token after the next is asked for behind windows of 24 tokens. MAML takes 16 examples for its
inner steps and 16 for the loss behind them; Reptile takes all 32 in each inner step, which is how large batches are read here.

- loss: on query data of unseen files behind 10 inner steps on 16 of their examples, in nats; before training: `fresh`
- seconds: CPU seconds of one meta step; losses are compared where both have had those that the shorter run took
- gradients: model calls of one meta step times tasks, counted by a hook; memory: the most numbers alive at once in one meta step;
  growth: how many more for each further inner step

Reptile, whose meta step costs less, takes twice as many. That MAML's start ends at most at Reptile's loss is held only where both
runs have ended: where neither, trained as long again at its last pace, would fall by as much as they differ.

What came out (`torchstone study meta-init`, 3 seeds, 169 CPU s on one core, torch 2.13; recorded/meta-init.jsonl): 6.03 ±0.17 nats
behind MAML's 40 meta steps, 5.97 ±0.12 behind Reptile's 80, 7.58 ±0.59 with fresh adapters. A meta step takes 0.248 ±0.011 and
0.212 ±0.018 CPU s, 16.7 and 4.1 million numbers, and 44 and 40 gradients; a further inner step keeps 1.47 million in MAML, 0 in
Reptile. At equal CPU time the losses differ by -0.000 ±0.047: neither is seen to be better. Neither had ended: which ends lower is
undecided.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import torch

from torchstone.core.evidence import Evidence
from torchstone.core.study import Curve, Interval, Outcome, Outcomes, Plot, Setting, interval
from torchstone.laws.adaptation.cost import gradient_evaluations
from torchstone.parts import Reptile
from torchstone.proofs.attention.cost import LiveNumbers
from torchstone.studies.judging import below, near
from torchstone.studies.models.language import Base, LanguageModel, prepared, train
from torchstone.studies.models.tasks import Tasks, after, learner, tasks_of, with_adapters
from torchstone.studies.study import Tools, measured

NAME = "meta-init"
QUESTION = "MAML with ten inner steps or Reptile with large batches: which start of adapters is better for its CPU time and memory?"
SETTLES = ("D7c",)
FIGURES = {
    "loss": "loss behind adapting [nats]", "fresh": "the same, fresh adapters", "seconds": "CPU s a meta step",
    "memory": "most numbers alive", "growth": "more of them an inner step", "gradients": "gradients a meta step",
}  # fmt: skip
QUICK = "the base model has hardly learned, and a dozen meta steps tell little of where either method ends"
OWN_DATA = "docstrings of the standard library and torch's sources"

MAML, REPTILE = "MAML", "Reptile"
METHODS = {MAML: "maml", REPTILE: "reptile"}
BASE, QUICK_BASE, META, QUICK_META, RATIO, LOOKS = 200, 30, 40, 6, 2, 6
RATE, STEPS, META_RATE, TASKS, EXAMPLES, TESTED = 0.1, 10, 3e-3, 4, 32, 24
_COUNT, _MEMORY, _QUALITY = "adaptation.gradient_evaluations", "adaptation.inner_step_memory", "adaptation.learned_start"


def settings(*, quick: bool) -> Sequence[Setting]:
    """Both methods; a meta step of Reptile costs less, so that it takes more of them."""
    count = QUICK_META if quick else META
    return [Setting(MAML, {"meta steps": count}), Setting(REPTILE, {"meta steps": RATIO * count})]


def meta_step(model: LanguageModel, method: str, steps: int = STEPS) -> Callable[[Tasks], None]:
    """What fills the gradients of the factors for a batch of tasks."""
    maml = learner(model, RATE, steps)
    if method == MAML:
        return lambda tasks: torch.autograd.backward(maml(*tasks.split()))
    reptile = Reptile(maml.model, maml.loss, inner_lr=RATE, inner_steps=steps)

    def move(tasks: Tasks) -> None:
        # Reptile.backward without the loss that it reports: no gradient, but a call of the model.
        with torch.no_grad():
            adapted = reptile.adapt(tasks.inputs, tasks.answers)
            for name, one in reptile.model.named_parameters():
                if name in adapted:
                    one.grad = one - adapted[name].mean(0)

    return move


def run(setting: Setting, seed: int, tools: Tools) -> Outcome:
    """Learn a start, with a look at its quality now and then; then count one meta step."""
    texts, model = prepared(Base(QUICK_BASE if tools.quick else BASE), seed, tools)
    model, count = with_adapters(model, seed), int(setting.values["meta steps"])
    tests = tasks_of(model, texts["new_test"], TESTED, EXAMPLES, torch.Generator().manual_seed(10_000 + seed))
    tester, step = learner(model, RATE, STEPS), meta_step(model, setting.name)
    looks = sorted({count * part // LOOKS for part in range(LOOKS + 1)})

    def descend(source: torch.Generator) -> None:
        step(tasks_of(model, texts["new_train"], TASKS, EXAMPLES, source))

    seen = train(model, descend, lambda: [after(tester, tests)[1]], looks, META_RATE, seed, tools, setting.name)
    tasks = tasks_of(model, texts["new_train"], TASKS, EXAMPLES, torch.Generator().manual_seed(seed))
    kept = [_alive(meta_step(model, setting.name, steps), tasks) for steps in (2, 3, 4, STEPS)]
    figures = {
        "loss": seen[-1][2], "fresh": seen[0][2], "seconds": seen[-1][1] / count, "memory": kept[3], "growth": kept[2] - kept[1],
        "bend": (kept[2] - kept[1]) - (kept[1] - kept[0]), "gradients": float(_calls(model, lambda: step(tasks)) * TASKS),
    }  # fmt: skip
    by_time, by_step = (tuple((row[place], round(row[2], 5)) for row in seen) for place in (1, 0))
    return measured(figures, {"loss over seconds": by_time, "loss over steps": by_step})


def _alive(step: Callable[[Tasks], None], tasks: Tasks) -> float:
    """The most numbers alive at once while a meta step runs, the data among them."""
    with LiveNumbers(tasks.inputs, tasks.answers) as live:
        step(tasks)
    return float(live.peak)


def _calls(model: LanguageModel, step: Callable[[], None]) -> int:
    """How often a meta step calls the last block."""
    calls = []
    hook = model.blocks[-1].register_forward_hook(lambda *_: calls.append(1))
    step()
    hook.remove()
    return len(calls)


def at_time(curve: Curve, seconds: float) -> float:
    """The loss after that many CPU seconds, on the line between two looks."""
    for (low, one), (high, other) in itertools.pairwise(curve):
        if low <= seconds <= high:
            return one + (other - one) * (seconds - low) / (high - low) if high > low else other
    return math.nan


def ahead(outcomes: Outcomes) -> Interval:
    """MAML's loss minus Reptile's at the CPU seconds that the shorter of both runs took, seed by seed."""
    second, found = {run.seed: run.curves["loss over seconds"] for run in outcomes.of(REPTILE)}, []
    for run in outcomes.of(MAML):
        if run.seed in second:
            curves = (run.curves["loss over seconds"], second[run.seed])
            seconds = min(curve[-1][0] for curve in curves)
            found.append(at_time(curves[0], seconds) - at_time(curves[1], seconds))
    return interval(found or [math.nan])


def judge(outcomes: Outcomes, *, quick: bool) -> Iterator[Evidence]:
    """Costs against the laws' counts; quality where both end, if they do."""
    for name, method in METHODS.items():
        count = gradient_evaluations(method, STEPS, TASKS)[0]  # type: ignore[arg-type] # the methods' own names
        how = f"{name}: gradients of a meta step of {TASKS} tasks"
        yield near(_COUNT, count, outcomes.interval(name, "gradients"), how, rival=TASKS)
    how = f"{REPTILE}: more numbers alive for each further inner step"
    yield near(_MEMORY, 0.0, outcomes.interval(REPTILE, "growth"), how, rival=1)
    how = f"{MAML}: the fourth inner step's growth less the third's"
    yield near(_MEMORY, 0.0, outcomes.interval(MAML, "bend"), how, rival=1)
    ended = not quick and has_ended(outcomes)  # a dozen meta steps end nowhere, however little they differ by
    reason = "" if ended else "neither loss has ended, and the law speaks of ends"
    quality = outcomes.difference(MAML, REPTILE, "loss")
    yield below(_QUALITY, 0.0, quality, f"{MAML}'s loss less {REPTILE}'s where both end, at most", reason=reason)


def has_ended(outcomes: Outcomes) -> bool:
    """Whether neither would fall by as much as they differ, were each trained as long again at its last pace."""
    curves = [outcomes.mean_curve(name, "loss over steps") for name in METHODS]
    falling = max((one - other) / (end - begin) * end for *_, (begin, one), (end, other) in curves)
    return falling < abs(outcomes.difference(MAML, REPTILE, "loss").mean)


def plots(outcomes: Outcomes) -> Iterator[Plot]:
    """Quality over CPU seconds, a curve a run, and over meta steps."""
    runs = {f"{run.setting}, seed {run.seed}": run.curves["loss over seconds"] for name in METHODS for run in outcomes.of(name)}
    said = "nats behind 10 inner steps"
    yield Plot("seconds", "Loss on unseen files over CPU time", "CPU seconds of meta-learning", said, runs)
    series = {name: outcomes.mean_curve(name, "loss over steps") for name in METHODS}
    yield Plot("steps", "Loss on unseen files over meta steps, means of all seeds", "meta step", said, series)
