"""D7a, D7c and D7d: forgetting, its defences and learned starts, from recorded runs of two studies, judged anew."""

from torchstone.core.evidence import Evidence
from torchstone.core.problem import Answer, Posted
from torchstone.core.study import Interval
from torchstone.problems.answering import answers, proved
from torchstone.problems.curves import Curve, curves
from torchstone.problems.studied import studied
from torchstone.report.study import as_text
from torchstone.studies import forgetting, meta_init
from torchstone.studies.recorded import recorded


def _evidence(study: str, *laws: str) -> tuple[Evidence, ...]:
    return tuple(item for item in recorded(study).evidence if item.law in laws)


def _compared(one: str, other: str, lost: Interval) -> str:
    """With which of two less is forgotten, or that an interval of differences leaves it open."""
    told = "less" if lost.high < 0 else "more" if lost.low > 0 else ""
    if not told:
        return f"{one} or {other}, with which less is forgotten: undecided, the difference is {as_text(lost)} nats a token"
    by = as_text(Interval(abs(lost.mean), lost.half_width, lost.count))
    return f"with {one} {told} is forgotten than with {other}, by {by} nats a token"


@answers("D7a")
def ways(_: Posted) -> Answer:
    """Curves of forgetting read at equal gain."""
    outcomes = recorded(forgetting.NAME).outcomes
    said = []
    for name in (forgetting.PROMPT, forgetting.ADAPTERS):
        found = forgetting.more_forgotten(outcomes, name, forgetting.FULL)
        said.append(f"at equal gain: {_compared(name, forgetting.FULL, found)}")
    most = max(forgetting.RATES, key=lambda name: outcomes.interval(name, "forgetting").mean)
    return Answer(
        says=(f"after equally many steps {most} forgets most, on the mean of the seeds", *said),
        derivation=(
            "forgetting: the rise of the loss on held-out original text over the base model's own, adaptation in place",
            "full tuning may change every weight; factors change a subspace of each, a prompt only what is read",
            "who learns less forgets less, so curves of forgetting are compared where the gains are equal",
        ),
        evidence=(*proved("adaptation.forgetting"), *_evidence(forgetting.NAME, "adaptation.forgetting")),
        remarks=studied(forgetting.NAME, list(forgetting.RATES), "forgetting", "gain"),
        drawings=(curves("Forgetting over gain while adapting, nats a token, means of the seeds", _paths(), "gain"),),
    )


def _paths() -> dict[str, Curve]:
    """Each way's forgetting over its gain, from where it first gains: steps before that gain less than nothing."""
    outcomes = recorded(forgetting.NAME).outcomes
    found: dict[str, Curve] = {}
    for name in forgetting.RATES:
        gain, lost = (outcomes.mean_curve(name, what) for what in ("gain", "forgetting"))
        found[name] = [(x, y) for (_, x), (_, y) in zip(gain, lost, strict=True) if x >= 0]
    return found


@answers("D7d")
def defences(_: Posted) -> Answer:
    """Each defence's forgetting and gain against none."""
    outcomes, said = recorded(forgetting.NAME).outcomes, []
    for name in forgetting.DEFENCES[1:]:
        lost, gain = (outcomes.difference(name, forgetting.NONE, what) for what in ("forgetting", "gain"))
        said.append(f"{_compared(name, forgetting.NONE, lost)}; the gain differs by {as_text(gain)}")
    return Answer(
        says=tuple(said),
        derivation=(
            "the minimum of new + c original loss has at most the original loss of the minimum of new alone",
            "the original loss on the new tasks' data guards the new text, of which the original held-out text is no part",
            "with A = 0 (lora_B here) the model is the base bit for bit: nothing is forgotten until adaptation begins again",
        ),
        evidence=(
            *proved("adaptation.defended", "adaptation.fresh_output"),
            *_evidence(forgetting.NAME, "adaptation.defended", "adaptation.fresh_output"),
        ),
        remarks=studied(forgetting.NAME, list(forgetting.DEFENCES), "forgetting", "start", "gain"),
    )


@answers("D7c")
def starts(_: Posted) -> Answer:
    """Counted costs, and quality for equal CPU time."""
    outcomes = recorded(meta_init.NAME).outcomes
    first, second = ({what: outcomes.interval(name, what) for what in meta_init.FIGURES} for name in meta_init.METHODS)
    found = meta_init.ahead(outcomes)
    better = meta_init.MAML if found.high < 0 else meta_init.REPTILE if found.low > 0 else "neither, as far as the seeds tell"
    return Answer(
        says=(
            f"better for equal CPU time: {better}; MAML's loss less Reptile's is {as_text(found)} nats",
            f"a meta step of MAML takes {first['seconds'].mean / second['seconds'].mean:.2g} times Reptile's CPU time",
            f"a meta step of MAML has {first['memory'].mean / second['memory'].mean:.2g} times Reptile's memory",
            f"a further inner step adds {first['growth'].mean:,.0f} numbers to MAML's, {second['growth'].mean:,.0f} to Reptile's",
        ),
        derivation=(
            "MAML's backward passes all k inner steps: their graphs are kept, and each is differentiated again",
            "Reptile needs the adapted weights alone: k gradients, the memory of one step, batches of any size",
        ),
        evidence=(
            *proved("adaptation.gradient_evaluations", "adaptation.inner_step_memory", "adaptation.learned_start"),
            *recorded(meta_init.NAME).evidence,
        ),
        remarks=studied(meta_init.NAME, list(meta_init.METHODS), "loss", "fresh", "seconds", "memory"),
        drawings=(curves("Loss behind 10 inner steps over CPU seconds, one seed, nats", _one_seed(), "CPU seconds"),),
    )


def _one_seed() -> dict[str, Curve]:
    outcomes = recorded(meta_init.NAME).outcomes
    return {name: outcomes.of(name)[0].curves["loss over seconds"] for name in meta_init.METHODS}
