"""D9: a tied encoder-decoder whose first loss is far too high, on a real model and real words, before and after the fix.

The two losses of the question give the vocabulary (ln v) and, with how far the untrained decoder copies its input, the width.
"""

import builtins
import inspect
import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from torchstone import parts
from torchstone.core.evidence import Evidence, Relation
from torchstone.core.problem import Answer, Drawing, Posted
from torchstone.core.quantity import Amount, Tolerance
from torchstone.laws.initialization import (
    copying_cross_entropy,
    head_spread,
    softmax_cross_entropy,
    tied_deviation,
)
from torchstone.problems.answering import answers, proved
from torchstone.problems.curves import curves
from torchstone.problems.measuring import compared, worst
from torchstone.problems.studied import studied
from torchstone.studies import summarizer_init as study

LAW = "initialization.copying_cross_entropy"
WRONG, RIGHT = 23.4, 6.1  # nats, the question's
VOCABULARY = round(math.exp(RIGHT))
MODELS, BATCH, SOURCE, TARGET, ERRORS = 8, 32, 40, 12, 4.0
PAD, BEGIN = 0, 1
TYPES = (str, bytes, int, float, dict, set, list, tuple, frozenset, bytearray, memoryview, complex, range, property, slice)


class Start(NamedTuple):
    """An untrained model: its loss, by how much that varies from model to model, and how far the decoder's state is its input."""

    loss: float
    error: float
    alignment: float


@cache
def _pairs() -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """Docstrings of Python's own types and functions, as (body, first line) in words."""
    owners = [builtins, *TYPES]
    members = (getattr(owner, name) for owner in owners for name in sorted(vars(owner)) if not name.startswith("_"))
    texts = dict.fromkeys(inspect.getdoc(member) or "" for member in members if callable(member))
    halves = (text.lower().partition("\n") for text in texts)
    return tuple((tuple(body.split()), tuple(first.split())) for first, _, body in halves if body.split() and first.split())


@cache
def _batch() -> tuple[Tensor, Tensor]:
    """As many pairs as fit into the vocabulary, a token for each word: sources (b, s) and targets (b, t), padded."""
    known: dict[str, int] = {}
    sources: list[Tensor] = []
    targets: list[Tensor] = []
    for body, first in _pairs():
        words = dict.fromkeys((*body[:SOURCE], *first[:TARGET]))
        if len(known | words) > VOCABULARY - 2 or len(sources) == BATCH:
            continue
        for word in words:
            known.setdefault(word, len(known) + 2)
        sources.append(torch.tensor([known[word] for word in body[:SOURCE]]))
        targets.append(torch.tensor([BEGIN, *(known[word] for word in first[:TARGET])]))
    padded = (torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD) for rows in (sources, targets))
    source, target = padded
    return source, target


@cache
def _started(width: int, deviation: float | None, *, norm_first: bool = False) -> Start:
    """The first loss of models drawn with this deviation (None: the part's own), without dropout, on the real words."""
    losses, alignments = [], []
    source, target = _batch()
    read, wanted = target[:, :-1], target[:, 1:]
    for seed in range(MODELS):
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            model = parts.EncoderDecoder(VOCABULARY, width, 4, 2, 2, 4 * width, 0.0, norm_first=norm_first, padding_idx=PAD)
            if deviation is not None:
                model.reset_embeddings(deviation)
            state = model.decode(read, model.encode(source, model.padding(source)), model.padding(source))
            logits = functional.linear(state, model.embedding.weight)
            losses.append(functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=PAD))
            cosines = functional.cosine_similarity(state, model.embedding(read), dim=-1)
            alignments.append(cosines[wanted != PAD].mean())
    found = torch.stack(losses)
    return Start(found.mean().item(), found.std().item() / math.sqrt(MODELS), torch.stack(alignments).mean().item())


def _expected(width: int, deviation: float, alignment: float) -> float:
    return copying_cross_entropy(VOCABULARY, head_spread(deviation, width), alignment * deviation * width)


def _widths(law: Callable[[int], float]) -> int:
    """The width, of four heads, at which a law comes nearest to the question's loss."""
    return min(range(4, 257, 4), key=lambda width: abs(law(width) - WRONG))


def _held(width: int) -> Iterator[Evidence]:
    """Each deviation's loss against the law of tied heads, at the alignment measured."""
    for deviation in (1.0, 1 / math.sqrt(width), tied_deviation(VOCABULARY, width)):
        start = _started(width, deviation)
        predicted = _expected(width, deviation, start.alignment)
        spread = Amount(0.05 * predicted, "5 %: the law's leading order, and states that differ in alignment")
        tolerance = Tolerance(spread, Amount(ERRORS * start.error, f"{ERRORS:g} standard errors of {MODELS} models"))
        yield compared(LAW, predicted, start.loss, tolerance, f"N(0, {deviation:.3g}²), {MODELS} models")


@answers("D9")
def summariser(posted: Posted) -> Answer:  # noqa: ARG001 - nothing was posted
    """The width that the two losses give, and the first loss of real models of that size for three deviations."""
    alignment = _started(64, 1.0).alignment
    width = _widths(lambda d: _expected(d, 1.0, alignment))
    head_alone = _widths(lambda d: softmax_cross_entropy(VOCABULARY, head_spread(1.0, d)))
    wide, root, fixed = (_started(width, deviation) for deviation in (1.0, 1 / math.sqrt(width), None))
    deviation = tied_deviation(VOCABULARY, width)
    drawn = Tolerance(sampling=Amount(ERRORS * fixed.error, f"{ERRORS:g} standard errors of {MODELS} models"))
    allowed = math.log(VOCABULARY) + 0.1
    reached = compared(LAW, allowed, fixed.loss, drawn, f"the part's own N(0, {deviation:.3g}²)", relation=Relation.AT_MOST)
    sizes, uniform = f"on {VOCABULARY} words and d = {width}", f"ln {VOCABULARY} = {math.log(VOCABULARY):.2f}"
    copied = f"{wide.alignment:.2f} sigma d = {wide.alignment * width:.0f}"
    spread = f"sigma sqrt(d) = {head_spread(1.0, width):.1f}"
    return Answer(
        says=(
            f"bug: N(0, 1) is too wide for what is the head too: {sizes} the loss starts at {wide.loss:.1f} (asked: {WRONG})",
            f"fix: N(0, 1/d) for both embeddings gives {root.loss:.2f}, N(0, {deviation:.3f}²) {fixed.loss:.2f}; {uniform}",
            f"reason: logits have spread {spread}, that of the word just read is {copied}; a small sigma leaves all near 0",
        ),
        derivation=(
            f"a model that knows nothing starts at ln v: {RIGHT} is so v = {VOCABULARY}",
            "the decoder ends in LayerNorm, so its state has norm sqrt(d); a word's row has norm sigma sqrt(d)",
            f"the residual stream keeps its input: cosine {wide.alignment:.2f} with the row just read, whose logit is so {copied}",
            f"the loss is ln(exp(that) + exp(loss of the others)) = {_expected(width, 1.0, wide.alignment):.1f}",
            f"the width is not given: {WRONG} means d near {width} if the decoder copies like ours, {head_alone} if it does not",
            "sigma = 1/sqrt(d): spread 1, so ln v + 1/2, and a copied logit of sqrt(d) at most",
            "sigma = min(sqrt(0.1/d), ln(1 + v (e^0.05 - 1))/d): spread and copied logit together at most 0.1 above ln v",
        ),
        evidence=(
            *proved(LAW, "initialization.head_spread", "initialization.copied_logit", "initialization.tied_deviation"),
            worst(_held(width)),
            reached,
        ),
        drawings=(_deviations(width),),
        remarks=(
            f"the words are those of {len(_batch()[0])} docstrings of Python's own types: bodies read, first lines written",
            "Vaswani et al. 2017, 3.4, multiply the embeddings by sqrt(d) on the way in: a narrow matrix is then no faint input",
            *studied("summarizer-init", (study.WIDE, study.ROOT, study.NARROW, study.DIVIDED), "first", "last"),
        ),
    )


def _deviations(width: int) -> Drawing:
    """First loss against deviation: measured, and by the law at the alignment measured."""
    deviations = [2.0**-power for power in range(6, -1, -1)]
    starts = {deviation: _started(width, deviation) for deviation in deviations}
    measured = [(math.log2(deviation), start.loss) for deviation, start in starts.items()]
    law = [(math.log2(deviation), _expected(width, deviation, start.alignment)) for deviation, start in starts.items()]
    uniform = [(x, math.log(VOCABULARY)) for x, _ in law]
    series = {"measured": measured, "law of tied heads": law, f"ln {VOCABULARY}": uniform}
    return curves(f"first loss of a tied encoder-decoder, v = {VOCABULARY}, d = {width}", series, "log2 of the deviation")
