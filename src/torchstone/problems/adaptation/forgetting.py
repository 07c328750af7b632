"""D7a, D7c and D7d: forgetting, its defences and learned starts, from recorded runs of two studies, judged anew."""

from torchstone.core.evidence import Evidence
from torchstone.core.problem import Answer, Posted
from torchstone.core.study import Interval
from torchstone.problems.answering import answers, proved
from torchstone.problems.studied import studied
from torchstone.report.study import as_text
from torchstone.studies import forgetting, meta_init
from torchstone.studies.recorded import recorded


def _evidence(study: str, *laws: str) -> tuple[Evidence, ...]:
    return tuple(item for item in recorded(study).evidence if item.law in laws)


def _compared(less: Interval) -> str:
    """What an interval of differences decides."""
    return "less" if less.high < 0 else "more" if less.low > 0 else "neither more nor less, as far as the seeds tell"


@answers("D7a")
def ways(_: Posted) -> Answer:
    """Curves of forgetting read at equal gain."""
    outcomes = recorded(forgetting.NAME).outcomes
    said = []
    for name in (forgetting.PROMPT, forgetting.ADAPTERS):
        found = forgetting.more_forgotten(outcomes, name, forgetting.FULL)
        said.append(f"at equal gain {name} forgets {_compared(found)} than {forgetting.FULL}: by {as_text(found)} nats a token")
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
    )


@answers("D7d")
def defences(_: Posted) -> Answer:
    """Each defence's forgetting and gain against none."""
    outcomes, said = recorded(forgetting.NAME).outcomes, []
    for name in forgetting.DEFENCES[1:]:
        lost, gain = (outcomes.difference(name, forgetting.NONE, what) for what in ("forgetting", "gain"))
        told = f"{name}: forgets {_compared(lost)} than no defence, by {as_text(lost)} nats a token"
        said.append(f"{told}; its gain differs by {as_text(gain)}")
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
    )
