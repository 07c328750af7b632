"""D11c and D11d: what only training can tell of a bottleneck's weight, from full runs that were recorded and are judged anew."""

import itertools
import math

from torchstone.core.evidence import Evidence, Verdict
from torchstone.core.problem import Answer, Posted
from torchstone.core.study import Interval, Outcomes, StudyReport
from torchstone.laws import bottleneck
from torchstone.problems.answering import answers, proved
from torchstone.problems.curves import curves
from torchstone.report.study import as_text
from torchstone.studies import bottleneck_beta, bottleneck_latent
from torchstone.studies.recorded import recorded


def _decided(report: StudyReport) -> tuple[Evidence, ...]:
    """What the runs decide, either way: the rest is told in words."""
    return tuple(item for item in report.evidence if item.verdict is not Verdict.UNDECIDED)


def _undecided(report: StudyReport) -> tuple[str, ...]:
    return tuple(f"undecided: {item.how}: {item.reason}" for item in report.evidence if item.verdict is Verdict.UNDECIDED)


def _verdict(difference: Interval) -> str:
    """Whether a difference of errors lies below 0, in words."""
    if difference.high < 0:
        return "lower"
    return "higher" if difference.low > 0 else "neither lower nor higher by these runs"


def _logarithms(outcomes: Outcomes) -> dict[str, list[tuple[float, float]]]:
    """Validation error and bits over beta, all as decimal logarithms."""
    study = bottleneck_beta
    return {
        text: [
            (math.log10(beta), math.log10(outcomes.interval(study.named(beta), figure).mean)) for beta in study.swept(outcomes)
        ]
        for figure, text in (("validation", "validation error, %"), ("bits", "KL, bits"))
    }


def _course(outcomes: Outcomes) -> str:
    """Whether mean bits fall from each beta to the next, in words."""
    found = [outcomes.interval(bottleneck_beta.named(beta), "bits").mean for beta in bottleneck_beta.swept(outcomes)]
    return "KL falls all the way" if all(a > b for a, b in itertools.pairwise(found)) else "KL does not fall all the way"


@answers("D11c")
def against_beta(_: Posted) -> Answer:
    """The study bottleneck-beta as it was recorded on MNIST."""
    study, report = bottleneck_beta, recorded("bottleneck-beta")
    outcomes, betas, best = report.outcomes, study.swept(report.outcomes), study.best(report.outcomes)

    def row(figure: str) -> str:
        return ", ".join(f"{as_text(outcomes.interval(study.named(beta), figure))} at {beta:g}" for beta in betas)

    plain, long = (outcomes.interval(name, "error") for name in (study.PLAIN, study.FULL))
    dip = outcomes.difference(study.named(study.WEAK), study.PLAIN, "error")
    told = f"{_verdict(dip)} ({as_text(dip)} points on test)"
    above = [beta for beta in betas if outcomes.difference(study.named(beta), study.named(best), "validation").low > 0]
    rise = f"surely higher at {', '.join(f'{beta:g}' for beta in above)}" if above else "nowhere surely higher"
    chosen = as_text(outcomes.interval(study.named(best), "error"))
    return Answer(
        says=(
            f"error: least at beta = {best:g} and {rise}; validation error in percent: {row('validation')}",
            f"bits: {_course(outcomes)}: {row('bits')}; ten classes need {math.log2(study.CLASSES):.2f}",
            f"best weight: {best:g} by validation error, test error {chosen} %; without a bottleneck {as_text(plain)} %",
        ),
        derivation=(
            "minima T1 + b1 R1 <= T2 + b1 R2 and T2 + b2 R2 <= T1 + b2 R1 add up to (b2 - b1)(R2 - R1) <= 0: KL falls with beta",
            "I(Y;Z) <= E KL: a code of fewer nats than ln 10 has at least Fano's error, h(e) + e ln 9 = ln 10 - KL",
            f"whether there is a dip runs must tell: against the deterministic network's, error at {study.WEAK:g} is {told}",
        ),
        evidence=(
            *proved("bottleneck.divergence_falls", "bottleneck.error_rises", "bottleneck.least_error", "bottleneck.dip"),
            *_decided(report),
        ),
        drawings=(curves("Error and bits against beta, decimal logarithms", _logarithms(outcomes), "log10 beta"),),
        remarks=(
            *report.remarks, *_undecided(report),
            f"trained longer and twice as wide ({study.LONG[2]:,} steps), beta = {study.WEAK:g}: {as_text(long)} % test error",
            f"Alemi et al. 2017 publish {study.PUBLISHED} % there, after 200 epochs: quoted, not measured",
        ),
    )  # fmt: skip


@answers("D11d")
def pictures(_: Posted) -> Answer:
    """The study bottleneck-latent as it was recorded: the assignment by scale, the best space by validation error."""
    study, report = bottleneck_latent, recorded("bottleneck-latent")
    outcomes = report.outcomes
    scales = {name: outcomes.interval(name, "scale").mean for name in outcomes.settings}
    order = study.assigned(scales)
    limits = {beta: math.sqrt(bottleneck.scale(beta, len(study.DIGITS))) for beta in study.BETAS}
    told = "; ".join(f"scale {scales[name]:.3g} is beta = {beta:g} (at most {limits[beta]:.3g})" for name, beta in order.items())
    none, weak, strong = map(study.named, study.BETAS)
    errors = {name: outcomes.interval(name, "validation") for name in (none, weak, strong)}
    between, apart = outcomes.difference(weak, none, "validation"), outcomes.difference(strong, weak, "validation")
    best = min(errors, key=lambda name: errors[name].mean)
    open_to = "" if between.high < 0 or between.low > 0 else f", and these runs do not tell {weak} from {none}"
    bits = outcomes.interval(strong, "bits")
    row = ", ".join(f"{as_text(value)} at {name}" for name, value in errors.items())
    return Answer(
        says=(
            f"pictures: by their axes, the smaller beta the larger the scale: {told}",
            f"best space: {best} by validation error in percent ({row}){open_to}; {strong} is the worst by {as_text(apart)} points",
        ),
        derivation=(
            "KL >= mu²/2 a unit, and what is better than a code that says nothing has task + beta KL <= ln 3",
            "so E mu² <= 2 ln 3/beta: a picture on a wide scale cannot belong to a large beta",
            "KL falls with beta, and with it the room for means far apart: the order of scales is that of betas, reversed",
            f"at beta = {study.BETAS[-1]:g} a code has {as_text(bits)} bits, where three classes take {math.log2(3):.2f}",
        ),
        evidence=(*proved("bottleneck.scale", "bottleneck.divergence_falls", "bottleneck.error_rises"), *_decided(report)),
        drawings=tuple(
            curves(f"Codes at beta = {beta:g}", dict(outcomes.of(study.named(beta))[0].curves), "first number", dots=True)
            for beta in study.BETAS
        ),
        remarks=(*report.remarks, *_undecided(report)),
    )
