"""A call of a loss function into the plain numbers of a LossComputed event.

Rows are measured up to a bound, evenly spaced: what is left out is a sampling error that the laws' tolerance names.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchstone.core.events import CopiedToken
from torchstone.record import graph

ROW_LIMIT = 512
ELEMENT_LIMIT = 4_000_000
Fields = dict[str, object]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a loss function.

    tokens: token tensors embedded earlier in the step, each with the number of the matrix it was looked up in.
    """

    function: str
    input: Tensor
    target: Tensor
    options: Mapping[str, object]
    tokens: Sequence[tuple[Tensor, int | None]]


def describe(call: Call) -> Fields | None:
    """The measured fields of a call, or None where the loss is of a kind that no law speaks of yet."""
    measured = _MEASURES.get(call.function)
    if measured is None or call.input.numel() == 0:
        return None
    fields = measured(call)
    makers = graph.makers(call.input)
    fields["produced_by"] = ",".join(sorted(makers))
    return fields


def outputs(prediction: Tensor, fields: Fields) -> frozenset[int]:
    """How many outputs the head behind a prediction may have: its classes; for yes-or-no losses one, or one a label."""
    classes = int(fields.get("classes", 0) or 0)  # type: ignore[call-overload] # describe() counts them
    labels = prediction.shape[-1] if prediction.dim() > 1 else 1
    return frozenset({classes} if fields.get("positives") is None else {1, labels})


def _sample(count: int, classes: int) -> slice:
    allowed = max(1, min(ROW_LIMIT, ELEMENT_LIMIT // max(classes, 1)))
    return slice(0, None, max(1, math.ceil(count / allowed)))


def _rows(call: Call) -> Tensor:
    """Input with classes last and everything else flattened: (rows, classes)."""
    values = call.input.detach()
    if values.dim() == 1:
        return values.unsqueeze(0)
    return values.movedim(1, -1).reshape(-1, values.shape[1])


def _range(rows: Tensor) -> Fields:
    low, high = rows.aminmax()
    return {"lowest": float(low), "highest": float(high), "resolution": float(torch.finfo(rows.dtype).eps)}


def _cross_entropy(call: Call) -> Fields:
    rows = _rows(call)
    count, classes = rows.shape
    fields: Fields = {"rows": count, "classes": classes}
    indices = not call.target.is_floating_point()
    ignored = int(call.options.get("ignore_index", -100))  # type: ignore[call-overload] # the loss has taken it
    target = call.target.reshape(-1) if indices else call.target.movedim(1, -1).reshape(-1, classes)
    kept = torch.ne(target, ignored).nonzero().squeeze(1) if indices else torch.arange(count, device=rows.device)
    if len(kept) == 0 or not rows.is_floating_point() or classes < 2:  # noqa: PLR2004 - nothing to predict
        return fields
    sample = _sample(len(kept), classes)
    everything = len(kept) == count and sample.step == 1
    kept = kept[sample]
    chosen = rows if everything else rows[kept]
    logits, goal = chosen.float(), target if everything else target[kept]
    log_chance = torch.log_softmax(logits, dim=1)
    nats = -(log_chance.gather(1, goal.unsqueeze(1)).squeeze(1) if indices else (log_chance * goal).sum(1))
    fields.update(
        rows_measured=len(kept),
        nats=float(nats.mean()),
        nats_deviation=float(nats.std()) if len(kept) > 1 else 0.0,
        spread=float(logits.std(dim=1).mean()),
        row_sum_error=float((logits.sum(1) - 1).abs().max()),
        **_range(chosen),
    )
    if indices:
        fields["copied"] = _copied(call, kept, logits, goal)
    return fields


def _copied(call: Call, kept: Tensor, logits: Tensor, goal: Tensor) -> CopiedToken | None:
    """The logit of the token just read, for the token tensor that it is largest for."""
    best: CopiedToken | None = None
    count = call.target.numel()
    for tokens, embedding in call.tokens:
        aligned = _align(tokens, count, call.target)
        if aligned is None or not _in_vocabulary(aligned, logits.shape[1]):
            continue
        read = aligned[kept]
        apart = read != goal
        if not bool(apart.any()):
            continue
        mine, there, wanted = logits[apart], read[apart].unsqueeze(1), goal[apart].unsqueeze(1)
        copied = float(mine.gather(1, there).mean())
        without = mine.scatter(1, there, -math.inf).logsumexp(1) - mine.gather(1, wanted).squeeze(1)
        if best is None or copied > best.logit:
            best = CopiedToken(copied, float(without.mean()), len(wanted), embedding)
    return best


def _align(tokens: Tensor, count: int, target: Tensor) -> Tensor | None:
    """Token ids in the order of the logits' rows; the last position is dropped where the targets are shifted."""
    if tokens.numel() == count:
        return tokens.reshape(-1)
    if tokens.dim() == 2:  # noqa: PLR2004 - (batch, time)
        batch, time = tokens.shape
        if batch * (time - 1) == count and time > 1:
            return tokens[:, :-1].reshape(-1)
    return None if tokens.shape != target.shape else tokens.reshape(-1)


def _in_vocabulary(tokens: Tensor, classes: int) -> bool:
    low, high = tokens.aminmax()
    return int(low) >= 0 and int(high) < classes


def _binary_cross_entropy_with_logits(call: Call) -> Fields:
    logits = call.input.detach().reshape(-1)
    target = call.target.detach().reshape(-1)
    fields: Fields = {"rows": logits.numel(), "classes": 2}
    if logits.numel() != target.numel():
        return fields
    step = _sample(logits.numel(), 1)
    chosen, goal = logits[step], target[step].float()
    nats = torch.nn.functional.softplus(chosen.float()) - chosen.float() * goal
    fields.update(
        rows_measured=chosen.numel(),
        nats=float(nats.mean()),
        nats_deviation=float(nats.std()) if chosen.numel() > 1 else 0.0,
        spread=float(chosen.float().std()) if chosen.numel() > 1 else 0.0,
        positives=float(goal.mean()),
        **_range(chosen),
    )
    return fields


def _squared_error(call: Call) -> Fields:
    target = call.target.detach().float()
    fields: Fields = {"rows": call.input.numel(), "rows_measured": call.input.numel()}
    if target.shape == call.input.shape and target.numel() > 1:
        fields.update(
            target_mean=float(target.mean()),
            target_variance=float(target.var(correction=0)),
        )
    return fields


def _negative_log_likelihood(call: Call) -> Fields:
    # On log-probabilities the two losses are one: the softmax of a log-softmax is itself.
    return _cross_entropy(call) if graph.makers(call.input) <= {"logsoftmax"} else {}


def _binary_cross_entropy(call: Call) -> Fields:
    chance = call.input.detach()
    logits = torch.logit(chance.float(), eps=1e-7)
    return _binary_cross_entropy_with_logits(replace(call, input=logits))


_MEASURES: dict[str, Callable[[Call], Fields]] = {
    "cross_entropy": _cross_entropy,
    "nll_loss": _negative_log_likelihood,
    "binary_cross_entropy": _binary_cross_entropy,
    "binary_cross_entropy_with_logits": _binary_cross_entropy_with_logits,
    "mse_loss": _squared_error,
}
