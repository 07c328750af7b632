"""A1, B2.1 to B2.4: what softmax depends on, and what a factor on the logits does to it."""

import math
import re
from collections.abc import Callable, Iterator
from itertools import pairwise

import sympy
import torch
from torch import Tensor

from torchstone.core.evidence import Evidence, Relation
from torchstone.core.problem import Answer, Claim, Drawing, Posted
from torchstone.core.quantity import Unit
from torchstone.laws.activation.softmax import softmax_limit_error, softmax_scale_limit
from torchstone.problems.answering import answers, proved
from torchstone.problems.curves import curves
from torchstone.problems.measuring import claimed, compared, found, generator, rounding, value, worst

SCALES = (-2.0, -1.0, 0.5, 1.0, 2.0, 10.0)


def _logits(rows: int, classes: int) -> Tensor:
    return 2 * torch.randn(rows, classes, generator=generator(classes), dtype=torch.float64)


def _symbols(names: str) -> list[sympy.Symbol]:
    return list(sympy.symbols(names, real=True))


def _shares(logits: list[sympy.Expr]) -> list[sympy.Expr]:
    return [sympy.exp(one) / sum(sympy.exp(other) for other in logits) for one in logits]


def _written(expression: sympy.Expr) -> str:
    """Positive terms first: x2 - x1."""
    return str(sympy.sstr(expression, order="rev-lex"))


def _log_ratio(share: sympy.Expr, other: sympy.Expr) -> sympy.Expr:
    """The logarithm of the ratio of two shares, in its simplest form."""
    return sympy.simplify(sympy.expand_log(sympy.log(sympy.simplify(share / other)), force=True))


@answers("A1")
def two_class_softmax(posted: Posted) -> Answer:
    """Softmax over z0, z1 as a sigmoid."""
    return _two_class(posted, "z0", "z1")


@answers("B2.3")
def two_class_vector(posted: Posted) -> Answer:
    """Softmax over x1, x2 as [sigmoid(z), 1 - sigmoid(z)]."""
    return _two_class(posted, "x1", "x2")


def _two_class(posted: Posted, first: str, second: str) -> Answer:
    share, other = _shares(_symbols(f"{first} {second}"))
    logit, turned = _log_ratio(share, other), _written(_log_ratio(other, share))
    return Answer(
        says=(f"z = {logit}: sigmoid(z) is the probability of the class of {first}, 1 - sigmoid(z) that of the class of {second}",),
        derivation=(
            f"S(x) = [{share}, {other}]",
            f"p = sigmoid(z) means z = log(p / (1 - p)), and 1 - p is the other share: z = {logit}",
            f"for the other class z = {turned}, and sigmoid({turned}) = 1 - sigmoid({logit})",
        ),
        evidence=proved("activation.two_class_logit"),
        claims=tuple(_logit_claims(posted, first, second)),
    )


def _logit_claims(posted: Posted, first: str, second: str) -> Iterator[Claim]:
    if "logit" not in posted.claims:
        return
    said, index = posted.claims["logit"], int(str(posted.claims.get("class", 0)))

    def held() -> Iterator[Evidence]:
        for one, other in _logits(50, 2).tolist():
            z = value(said, **{first: one, second: other})
            share = torch.tensor([one, other], dtype=torch.float64).softmax(0)[index]
            # the logit of a share close to 1 loses the digits that 1 - p loses
            tolerance = rounding(16, 1 + abs(one) + abs(other) + math.exp(abs(one - other)))
            how = f"{first}={one:.4g}, {second}={other:.4g}"
            yield compared("activation.two_class_logit", z, torch.logit(share).item(), tolerance, how)

    def sentence(evidence: Evidence) -> str:
        logit = found(evidence)
        return f"at {evidence.how} softmax gives class {index} the logit {logit:.4g}, not z = {evidence.predicted.value:.4g}"

    for about in ("logit", "class"):
        if about in posted.claims:
            yield claimed(about, held(), sentence)


@answers("B2.1")
def translation(posted: Posted) -> Answer:
    """Softmax does not see a shift of all logits."""
    x, c = _symbols("x1 x2 x3"), sympy.Symbol("c", real=True)
    shifted, plain = _shares([one + c for one in x]), _shares(x)
    differences = [sympy.simplify(one - other) for one, other in zip(shifted, plain, strict=True)]
    claims = []
    if "translation" in posted.claims:
        claims.append(claimed("translation", _translated(posted.claims["translation"]), lambda held: held.how))
    return Answer(
        says=(f"S(x + c) - S(x) = {differences} for three classes, and alike for any number: softmax does not see c",),
        derivation=(
            f"S(x + c)_1 = {shifted[0]}",
            f"exp(c) is a factor of every term: {sympy.simplify(shifted[0])} = {plain[0]}",
        ),
        evidence=proved("activation.translated_softmax"),
        claims=tuple(claims),
    )


def _translated(transformation: object) -> Iterator[Evidence]:
    """Softmax of transformed logits against softmax of the logits: `transformation` is an expression in x and c."""
    for classes in (2, 3, 10):
        logits = _logits(1, classes)[0]
        for c in (-100.0, 0.5, 3.0):
            changed = torch.tensor([value(transformation, x=one, c=c) for one in logits.tolist()], dtype=torch.float64)
            for before, after in zip(logits.softmax(0).tolist(), changed.softmax(0).tolist(), strict=True):
                tolerance = rounding(8 + classes, 10 + abs(c))
                how = f"{transformation} with c = {c:g} for x gives a share of {after:.4g} where it was {before:.4g}"
                yield compared("activation.translated_softmax", before, after, tolerance, how)


@answers("B2.2")
def scaling(posted: Posted) -> Answer:
    """Softmax of c x: not that of x, but for c = 1 or equal logits; uniform at c = 0; shared by the maxima at infinity."""
    x1, x2, x3, c = _symbols("x1 x2 x3 c")
    shares = _shares([c * x1, c * x2, c * x3])
    odds = _log_ratio(shares[0], shares[1])
    tied = [1.0, 5.0, 5.0, 2.0]
    same = sympy.solve(sympy.Eq(odds, odds.subs(c, 1)), c)
    return Answer(
        says=(
            f"not invariant: log(p1/p2) of S(cx) is {sympy.factor(odds)}, as in S(x) only for c = {same[0]} or equal logits",
            f"c = 0: {softmax_scale_limit(tied, 0.0)} for x = {tied}, 1/K each",
            f"c to infinity: {softmax_scale_limit(tied, math.inf)} for x = {tied}, 1/r on the r tied maxima",
        ),
        derivation=(
            "the sum over classes cancels in p_i / p_j = exp(c (x_i - x_j)), so every log-odds is multiplied by c",
            "c = 0 makes every exponential 1: each share is 1/K",
            "divide by exp(c max): the r maxima have 1 in the numerator, every other exp(-c d) with d > 0, which vanishes",
            f"the error is at most max((K-r)/r², 1/r) exp(-c gap): at c = 10 here {softmax_limit_error(tied, 10.0):.3g}",
        ),
        evidence=proved("activation.scaled_log_odds", "activation.softmax_scale_limit", "activation.softmax_limit_error"),
        claims=tuple(_scaling_claims(posted)),
        drawings=(_shares_drawn(tied),),
    )


def _scaling_claims(posted: Posted) -> Iterator[Claim]:
    if "not invariant" in posted.claims:
        yield _invariance_claim(str(posted.claims["not invariant"]))
    if "c = 0" in posted.claims:
        uniform = _limit_evidence(0.0, posted.claims["c = 0"], posted.claims["c = 0"])
        yield claimed("c = 0", uniform, lambda held: f"{held.how}: {held.predicted.value:.4g} is claimed")
    shares = posted.claims.get("c to infinity")
    if isinstance(shares, dict):
        limit = _limit_evidence(math.inf, shares["maxima"], shares["others"])
        yield claimed("c to infinity", limit, lambda held: f"{held.how}: {held.predicted.value:.4g} is claimed")


def _invariance_claim(quantifier: str) -> Claim:
    """Count the pairs (x, c) for which S(cx) differs from S(x); `quantifier` says of how many that is claimed: every, some."""
    rows = ((1.0, 2.0, 4.0), (3.0, 3.0, 3.0))
    unchanged = {row: [c for c in SCALES if _same(row, c)] for row in rows}
    pairs, differ = len(rows) * len(SCALES), sum(len(SCALES) - len(same) for same in unchanged.values())
    predicted, relation = {"every c": (pairs, Relation.EQUAL), "some c": (1, Relation.AT_LEAST)}[quantifier]
    how = f"pairs (x, c) of {pairs} tried where S(cx) is not S(x)"
    evidence = compared("activation.scaled_log_odds", predicted, differ, how=how, relation=relation, unit=Unit.COUNT)
    cases = [f"c = {', '.join(f'{c:g}' for c in same)} with x = {row}" for row, same in unchanged.items() if same]
    return Claim("not invariant", evidence, f"S(cx) = S(x) for {'; '.join(cases)}")


def _same(row: tuple[float, ...], c: float) -> bool:
    """Whether S(cx) is S(x) but for rounding."""
    logits = torch.tensor(row, dtype=torch.float64)
    return (logits.softmax(0) - (c * logits).softmax(0)).abs().max().item() <= rounding(16, abs(c) * max(row)).total


def _limit_evidence(scale: float, maxima: object, others: object) -> Iterator[Evidence]:
    """Torch's softmax at a scale that stands for the limit, against claimed shares (expressions in K and r)."""
    for row in ([4.0], [1.0, 2.0], [0.0, 3.0, 3.0], [2.0, 2.0, 2.0], [1.0, 5.0, 5.0, 5.0, 2.0]):
        heights = sorted(set(row))
        steep = 50 / min((high - low for low, high in pairwise(heights)), default=1.0) if scale else 0.0
        limit = (steep * torch.tensor(row, dtype=torch.float64)).softmax(0).tolist()
        for one, share in zip(row, limit, strict=True):
            said = maxima if one == max(row) else others
            claim = value(said, K=len(row), r=row.count(max(row)))
            how = f"x = {row}, c = {steep:g}: x_i = {one:g} has a share of {share:.4g}"
            yield compared("activation.softmax_scale_limit", claim, share, rounding(8 + len(row)), how)


def _shares_drawn(logits: list[float]) -> Drawing:
    """Every distinct share against c."""
    points = [at / 60 for at in range(121)]
    rows = [(c * torch.tensor(logits, dtype=torch.float64)).softmax(0).tolist() for c in points]
    columns = zip(logits, zip(*rows, strict=True), strict=True)
    named = {f"share of x = {one:g}": list(zip(points, column, strict=True)) for one, column in sorted(columns)}
    return curves(f"Softmax of c x for x = {logits}: 1/{len(logits)} each at c = 0, shared by the maxima as c grows", named, "c")


@answers("B2.4")
def fewer_parameters(posted: Posted) -> Answer:
    """K-class softmax has K-1 parameters."""
    names = ["x1", "x2", "x3", "x4"]
    shares = _shares(_symbols(" ".join(names)))
    parameters = [_written(_log_ratio(share, shares[0])) for share in shares[1:]]
    divided = 1 / sympy.expand(1 / shares[0])
    claims = []
    if "parameters" in posted.claims:
        claims.append(claimed("parameters", _parameter_evidence(str(posted.claims["parameters"])), lambda held: held.how))
    return Answer(
        says=(f"y = ({', '.join(parameters)}) for four classes: S(x) = S((0, y)), and alike for K classes with K - 1 parameters",),
        derivation=(
            f"S(x)_1 = {shares[0]}",
            f"divide numerator and denominator by exp(x1): {divided}",
            "every other share is exp(x_i - x1) = exp(y_{i-1}) over the same denominator 1 + sum exp(y)",
        ),
        evidence=(*proved("activation.softmax_of_differences"), worst(_ranks())),
        claims=tuple(claims),
        remarks=("fewer will not do: the Jacobian of softmax has the rank K - 1",),
    )


def _ranks() -> Iterator[Evidence]:
    """The dimension of the set of shares that K logits reach: the rank of softmax's Jacobian."""
    for classes in (2, 3, 6):
        shares = _logits(1, classes)[0].softmax(0)
        rank = torch.linalg.matrix_rank(shares.diag() - torch.outer(shares, shares))
        yield compared("activation.softmax_of_differences", classes - 1, rank.item(), how=f"rank of the Jacobian, K = {classes}")


def _parameter_evidence(expression: str) -> Iterator[Evidence]:
    """Softmax of (0, y) with the claimed y_i, an expression in x[...] and i, against softmax of x."""
    for classes in (2, 3, 6):
        logits = _logits(1, classes)[0]
        names = {f"x{at + 1}": one for at, one in enumerate(logits.tolist())}
        differences = []
        for i in range(1, classes):
            indexed = re.sub(r"\[([^\]]+)\]", _index(i), expression)
            differences.append(value(indexed, **names))
        shares = torch.tensor([0.0, *differences], dtype=torch.float64).softmax(0).tolist()
        for at, (claim, share) in enumerate(zip(shares, logits.softmax(0).tolist(), strict=True)):
            how = f"K = {classes}, y_i = {expression}: share {at + 1} becomes {claim:.4g} where softmax of x gives {share:.4g}"
            yield compared("activation.softmax_of_differences", claim, share, rounding(16 + classes, 10), how)


def _index(i: int) -> Callable[[re.Match[str]], str]:
    """What stands in place of [i + 1] in x[i + 1]: the number, which makes the name x2 at i = 1."""
    return lambda bracket: f"{value(bracket[1], i=i):g}"
