"""E1.3: the recurrent network with attention: its picture, its forms for k and all past states, and its gradients."""

import math
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from torchstone.core.evidence import Evidence
from torchstone.core.problem import Answer, Claim, Drawing, Posted
from torchstone.parts import AttentionRNN
from torchstone.problems.answering import answers, proved
from torchstone.problems.measuring import compared, found, generator, rounding, value, worst
from torchstone.problems.recurrence.gated import by_rows, dimension_claims, draw

INPUTS, HIDDEN, WINDOW = 5, 4, 3
_STATE, _JACOBIAN, _LOSS = "recurrence.attention_state", "recurrence.attention_jacobian", "recurrence.attention_loss_gradient"


def _network(window: float = 2) -> AttentionRNN:
    """A random network in float64."""
    network = AttentionRNN(INPUTS, HIDDEN, window, dtype=torch.float64)
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=generator(number), dtype=torch.float64) / 2)
    return network


def _shares(network: AttentionRNN, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    """The definition spelt out: a[t] (k + 1) and the values (k + 1, m), of the input first."""
    scores = [(network.query_ih @ x) @ (network.key_ih @ x)]
    values = [network.value_ih @ x]
    for state, query, key, weight in zip(past, network.query_hh, network.key_hh, network.value_hh, strict=False):
        scores.append((query @ state) @ (key @ state))
        values.append(weight @ state)
    return torch.softmax(torch.stack(scores), 0), torch.stack(values)


def _pictured(window: float) -> Drawing:
    drawn = AttentionRNN(3, 4, window).diagram()
    return Drawing(drawn.title, drawn.text, drawn.svg)


def _nearest(law: str, said: Tensor, measured: Tensor, how: str) -> Evidence:
    """The entry that agrees least."""
    scale = 1 + measured.abs().max().item()
    pairs = zip(said.flatten().tolist(), measured.flatten().tolist(), strict=True)
    return worst(compared(law, one, other, rounding(4000, scale), how) for one, other in pairs)


def _off(evidence: Evidence) -> float:
    return abs(found(evidence) - evidence.predicted.value)


@answers("E1.3.1")
def picture(_: Posted) -> Answer:
    """The running network drawn."""
    return Answer(
        says=("diagram: one step of AttentionRNN(2), drawn below for n = 3 and m = 4",),
        derivation=(
            "x[t], h[t-1] and h[t-2] each give a query, a key and a value by their own three matrices",
            "three scores w_i = q_i . k_i become three weights by a softmax, and h[t] is the average of the values with them",
        ),
        evidence=proved(_STATE, "recurrence.attention_size"),
        drawings=(_pictured(2),),
    )


@answers("E1.3.2")
def dimension(posted: Posted) -> Answer:
    """a[t] counted for several k: one number for each source."""
    law = "recurrence.attention_size"
    sizes: list[tuple[dict[str, int], int]] = []
    for window in (1, 2, 5):
        shares, _ = _shares(_network(window), draw(INPUTS), draw(window, HIDDEN))
        sizes.append(({"k": window, "n": INPUTS, "m": HIDDEN}, shares.numel()))
    seen = ", ".join(f"{count} at k = {at['k']}" for at, count in sizes)
    two = next(count for at, count in sizes if at["k"] == 2)  # noqa: PLR2004 - AttentionRNN(2)
    return Answer(
        says=(f"dimension: a[t] is in R^{two} for AttentionRNN(2), in general R^(k+1): {seen}; n = {INPUTS}, m = {HIDDEN}",),
        derivation=("a = softmax(w), and w has one number w_i = q_i . k_i for the input and one for each of the k past states",),
        evidence=proved(law),
        claims=tuple(dimension_claims(posted, sizes, law)),
    )


def _reach(window: int) -> list[int]:
    """The past states that h[t] of a running network reads: those by which it has a derivative, of two more than its k."""
    network, steps = _network(window), 3
    inputs, first = draw(steps, INPUTS), draw(window, HIDDEN)
    before = network(inputs[:-1], first)[0].detach()
    line = torch.cat([before.flip(0), first])[: window + 2]
    read = []
    for ago in range(1, len(line) + 1):
        moved = line.clone()
        moved[ago - 1] += 1
        pair = [network(inputs[-1:], past[:window])[0] for past in (line, moved)]
        read += [ago] if not torch.equal(*pair) else []
    return read


@answers("E1.3.3")
def general(posted: Posted) -> Answer:
    """The same sums over i = 0..k, and what the running network reads."""
    read = _reach(WINDOW)
    return Answer(
        says=(
            "slots: q_i, k_i, v_i = Q_i s_i, K_i s_i, V_i s_i for i = 0..k, s_0 = x[t], s_i = h[t-i]",
            "w_i = q_i . k_i, a = softmax(w), h[t] = sum over i = 0..k of a_i v_i",
            f"measured: AttentionRNN({WINDOW}) reads the states {', '.join(map(str, read))} steps ago, and no other",
        ),
        derivation=("k past states instead of two: three matrices m x m for each, three m x n for the input",),
        evidence=proved(_STATE, "recurrence.attention_size"),
        claims=tuple(_slot_claims(posted)),
    )


def _slot_claims(posted: Posted) -> Iterator[Claim]:
    """The claimed range of i, as the definition summed over it, against the running network."""
    claim = posted.claims.get("slots")
    if isinstance(claim, Mapping):
        wider, x, past = _network(2 * WINDOW), draw(INPUTS), draw(2 * WINDOW, HIDDEN)  # slots that are not its own as well
        network = AttentionRNN(INPUTS, HIDDEN, WINDOW, dtype=torch.float64)
        own = {name: one[:WINDOW] if name.endswith("hh") else one for name, one in wider.state_dict().items()}
        network.load_state_dict(own)
        rows = slice(round(value(claim["first"], k=WINDOW)), round(value(claim["last"], k=WINDOW)) + 1)
        shares, values = (one[rows] for one in _shares(wider, x, past))
        held = _nearest(_STATE, shares @ values / shares.sum(), network(x.unsqueeze(0), past[:WINDOW])[0][0], "a unit of h[t]")
        how = f"a unit of h[t] of AttentionRNN({WINDOW}) is {found(held):.4g}, not {held.predicted.value:.4g}"
        yield Claim("slots", held, how)


@answers("E1.3.4")
def unbounded(_: Posted) -> Answer:
    """Every past state, parameters tied, carried as a running softmax."""
    network, steps = _network(math.inf), 60
    inputs, first = draw(steps, INPUTS), draw(1, HIDDEN)
    output, carried = network(inputs, network.pooled(first))
    line, tied = [*first], _network(math.inf)
    for x in inputs:
        past = torch.stack(line[::-1])
        for name in ("query_hh", "key_hh", "value_hh"):
            setattr(tied, name, torch.nn.Parameter(getattr(network, name)[:1].expand(len(past), -1, -1)))
        shares, values = _shares(tied, x, past)
        line.append(shares @ values)
    held = _nearest("recurrence.infinite_attention", torch.stack(line[1:]), output, f"every state of {steps} steps, whole sum")
    return Answer(
        says=(
            "tying: Q_i = Q, K_i = K, V_i = V for every i >= 1; Q_0, K_0, V_0 for the input",
            "h[t] = sum over i = 0..t of a_i v_i, a the softmax over x[t] and every past state, h[0] included",
            f"cost: w_i depends on h[t-i] alone; after {steps} steps {carried.numel()} numbers are carried at m = {HIDDEN}",
            f"they are the log of the summed e^w, and the mean value; {_off(held):.1g} from the whole sum over {steps} steps",
        ),
        derivation=(
            "infinitely many matrices cannot be had: one set for all past states makes any number of them possible",
            "with L = log sum e^w and M the mean value of the past: h[t] = M + sigmoid(w_0 - L) (v_0 - M)",
            "h[t] joins the past: M moves to V h[t] by sigmoid(w - L), L becomes log(e^L + e^w): O(1) memory, O(T m²) time",
        ),
        evidence=(*proved("recurrence.infinite_attention", "recurrence.attention_memory"), held),
        drawings=(_pictured(math.inf),),
        remarks=("were the query made from x[t], every score would change with t and the whole past had to be kept: O(T²)",),
    )


def _by_law(network: AttentionRNN, x: Tensor, past: Tensor, ago: int) -> Tensor:
    """a_i (V_i + (v_i - h) (Ki'q_i + Qi'k_i)')."""
    shares, values = _shares(network, x, past)
    query, key, state = network.query_hh[ago - 1], network.key_hh[ago - 1], past[ago - 1]
    by_score = key.t() @ (query @ state) + query.t() @ (key @ state)
    moved = values[ago] - shares @ values
    return shares[ago] * (network.value_hh[ago - 1] + torch.outer(moved, by_score))


def _by_gate(network: AttentionRNN, x: Tensor, past: Tensor, ago: int) -> Tensor:
    """The gated network's Jacobian, diag(c) + diag((h - Wx x) c (1 - c)) Wh, with what stands in those places here.

    c is a_1, the share of h[t-1]; Wx x is v_0; Wh, the derivative of what decides the gate, is that of the score w_1.
    """
    shares, values = _shares(network, x, past)
    query, key, state = network.query_hh[ago - 1], network.key_hh[ago - 1], past[ago - 1]
    by_score = key.t() @ (query @ state) + query.t() @ (key @ state)
    c = shares[ago]
    return c * torch.eye(HIDDEN, dtype=torch.float64) + torch.outer((state - values[0]) * c * (1 - c), by_score)


_JACOBIANS = {"AttentionRNN": _by_law, "GatedRNN": _by_gate}


def _jacobian(network: AttentionRNN, x: Tensor, past: Tensor) -> Tensor:
    """dh[t]/dh[t-1] of the running network."""
    leaf = past.detach().clone().requires_grad_()
    return by_rows(network(x.unsqueeze(0), leaf)[0][0], leaf)[:, 0]


def _as_gate() -> Evidence:
    """AttentionRNN(1) with V_1 = I is a gated network with one gate for all units: there the two Jacobians are one."""
    network = _network(1)
    with torch.no_grad():
        network.value_hh.copy_(torch.eye(HIDDEN))
    x, past = draw(INPUTS), draw(1, HIDDEN)
    return _nearest(_JACOBIAN, _by_gate(network, x, past, 1), _jacobian(network, x, past), "AttentionRNN(1), V_1 = I")


@answers("E1.3.5")
def jacobian(posted: Posted) -> Answer:
    """Through the value and through the score, held against autograd."""
    network, x, past = _network(2), draw(INPUTS), draw(2, HIDDEN)
    measured = _jacobian(network, x, past)
    ours, gate = _nearest(_JACOBIAN, _by_law(network, x, past, 1), measured, "every entry"), _as_gate()
    return Answer(
        says=(
            "jacobian: dh[t]/dh[t-1] = a_1 (V_1 + (v_1 - h[t]) (K_1' q_1 + Q_1' k_1)'), m x m",
            f"through the value, and through the score, which moves all three weights; {_off(ours):.1g} from autograd",
        ),
        derivation=(
            "h = sum of a_i v_i, and only v_1 and w_1 depend on h[t-1]",
            "dh/dv_1 = a_1 I; dh/dw_1 = sum over i of v_i a_i ((i = 1) - a_1) = a_1 (v_1 - h)",
            "dv_1/dh[t-1] = V_1; dw_1/dh[t-1] = K_1' q_1 + Q_1' k_1, as w_1 = h' Q_1' K_1 h",
        ),
        evidence=(*proved(_JACOBIAN), ours),
        claims=tuple(_jacobian_claims(posted, network, x, past, measured)),
        remarks=(f"a gated network's, one gate for all units, is AttentionRNN(1)'s with V_1 = I: {_off(gate):.1g} apart",),
    )


def _jacobian_claims(posted: Posted, network: AttentionRNN, x: Tensor, past: Tensor, measured: Tensor) -> Iterator[Claim]:
    if "jacobian" in posted.claims:
        name = str(posted.claims["jacobian"])
        held = _nearest(_JACOBIAN, _JACOBIANS[name](network, x, past, 1), measured, name)
        seen = f"an entry of dh[t]/dh[t-1] of AttentionRNN(2) is {found(held):.4g}"
        yield Claim("jacobian", held, f"{seen}, the {name}'s is {held.predicted.value:.4g}")


@cache
def _tables() -> dict[str, Any]:
    """A run of AttentionRNN(3) from h[T], T = 0, with a loss at every step of 6 after it.

    `gradient` dl/dh[T]; for each later t `whole`, dl/dh[t], `direct`, how h[t] reads h[T] itself (0 beyond k), and `through`, all
    the ways that h[T] reaches h[t].
    """
    steps, network = 6, _network(WINDOW)
    inputs, first, gradients = draw(steps, INPUTS), draw(WINDOW, HIDDEN), draw(steps, HIDDEN, seed=6)
    leaf = first.clone().requires_grad_()
    output = network(inputs, leaf)[0]
    gradient = torch.autograd.grad(output, leaf, gradients, retain_graph=True)[0][0]
    through = [by_rows(one, leaf)[:, 0] for one in output]
    line = torch.cat([output.detach().flip(0), first])  # newest first
    direct, whole = [torch.zeros(HIDDEN, HIDDEN, dtype=torch.float64) for _ in range(steps)], []
    for step in range(1, steps + 1):
        if step <= WINDOW:
            before = line[steps - step + 1 :][:WINDOW].clone().requires_grad_()
            direct[step - 1] = by_rows(network(inputs[step - 1 : step], before)[0][0], before)[:, step - 1]
        newest = line[steps - step :][:WINDOW].clone().requires_grad_()
        later = torch.autograd.grad(network(inputs[step:], newest)[0], newest, gradients[step:])[0][0] if step < steps else 0
        whole.append(gradients[step - 1] + later)
    return {"gradient": gradient, "direct": direct, "through": through, "whole": whole}


def _partial(claim: Mapping[str, Any], at: int, jacobians: str) -> Tensor:
    """The claimed sum over later steps t from first to last of (dh[t]/dh[T])' dl/dh[t], T = 0; `at` where it leaves t open."""
    tables = _tables()
    first, last = (round(value(claim[end], T=0, k=WINDOW, t=at)) for end in ("first", "last"))
    rows = zip(tables[jacobians], tables["whole"], strict=True)
    terms = [one.t() @ gradient for t, (one, gradient) in enumerate(rows, start=1) if first <= t <= last]
    return torch.stack(terms).sum(0) if terms else torch.zeros(HIDDEN, dtype=torch.float64)


@answers("E1.3.6")
def loss_gradient(posted: Posted) -> Answer:
    """Every step that reads h[T] sends its share back."""
    tables = _tables()
    claim, steps = {"first": "T + 1", "last": "T + k"}, len(tables["whole"])
    ours = _nearest(_LOSS, _partial(claim, 0, "direct"), tables["gradient"], f"AttentionRNN({WINDOW}), {steps} steps")
    return Answer(
        says=(
            "gradient: dl/dh[T] = (what the loss takes from h[T] itself) + sum over t = T+1..T+k of (dh[t]/dh[T])' dl/dh[t]",
            "with dh[t]/dh[T] = a_i[t] (V_i + (v_i - h[t]) (K_i' q_i + Q_i' k_i)'), i = t - T: what h[t] reads of h[T] itself",
            f"measured: {_off(ours):.1g} from autograd at k = {WINDOW}, a loss at each of {steps} steps",
        ),
        derivation=(
            "h[T] is read directly by h[T+1] (as i = 1) to h[T+k] (as i = k), and by no other state",
            "so the chain rule has k terms, each with the whole dl/dh[t]; the recursion runs from the end of the sequence to T",
        ),
        evidence=(*proved(_LOSS, _JACOBIAN), ours),
        claims=tuple(_loss_claims(posted)),
    )


def _loss_claims(posted: Posted) -> Iterator[Claim]:
    """The claimed sum; where it leaves its one t open, the t and the reading of dh[t]/dh[T] that come nearest."""
    claim, tables = posted.claims.get("gradient"), _tables()
    if isinstance(claim, Mapping):
        choices = [
            _nearest(_LOSS, _partial(claim, at, reading), tables["gradient"], f"t = T + {at}, dh[t]/dh[T] {reading}")
            for at in range(1, len(tables["whole"]) + 1)
            for reading in ("direct", "through")
        ]
        held = min(choices, key=_off)
        entry = f"an entry of dl/dh[T] of AttentionRNN({WINDOW}) is {found(held):.4g}, not {held.predicted.value:.4g}"
        yield Claim("gradient", held, f"{entry}; at best, with {held.how}")
