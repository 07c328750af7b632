"""The answers about activations: what is posted is judged by its data, so altered data is judged anew."""

import math
import xml.etree.ElementTree as ET

import pytest

from torchstone.core.evidence import Verdict
from torchstone.core.problem import Judgement, Posted, Solved
from torchstone.problems.activation.logarithm import _layers, _step
from torchstone.problems.answering import all_posted, all_questions, all_solvers

QUESTIONS = ["A1", "A6", "B1.1", "B1.2", "B1.3", "B2.1", "B2.2", "B2.3", "B2.4", "B3"]


def solved(name, claims=None, working=None):
    """The question with its posted data changed in some keys; None as a value takes a key out."""
    posted = all_posted()[name]
    merged = {key: value for key, value in {**posted.claims, **(claims or {})}.items() if value is not None}
    steps = {key: value for key, value in {**posted.working, **(working or {})}.items() if value is not None}
    changed = Posted(posted.says, merged, steps)
    return Solved(all_questions()[name], changed, all_solvers()[name](changed))


@pytest.mark.parametrize(
    ("name", "judgement"),
    [
        ("A1", Judgement.RIGHT), ("A6", Judgement.INCOMPLETE), ("B1.1", Judgement.RIGHT), ("B1.2", Judgement.RIGHT),
        ("B1.3", Judgement.INCOMPLETE), ("B2.1", Judgement.RIGHT), ("B2.2", Judgement.WRONG), ("B2.3", Judgement.RIGHT),
        ("B2.4", Judgement.RIGHT), ("B3", Judgement.INCOMPLETE),
    ],
)  # fmt: skip
def test_what_was_posted_is_judged(name, judgement):
    one = solved(name)
    assert one.verdict is Verdict.HOLDS
    assert one.judgement is judgement
    assert set(one.posted.claims) <= set(one.question.asks)


@pytest.mark.parametrize(
    ("name", "claims", "judgement"),
    [
        ("A1", {"logit": "z1 - z0"}, Judgement.WRONG),
        ("A1", {"logit": "z1 - z0", "class": 1}, Judgement.RIGHT),
        ("A1", {"class": 1}, Judgement.WRONG),
        ("A1", {"class": None}, Judgement.INCOMPLETE),
        ("A1", {"logit": "z0 - z1 + 1e-9"}, Judgement.WRONG),
        ("A1", {"logit": "1 / 0"}, Judgement.WRONG),
        ("B2.3", {"logit": "x2 - x1"}, Judgement.WRONG),
        ("B1.1", {"above zero": "2"}, Judgement.WRONG),
        ("B1.1", {"above zero": "H(x)"}, Judgement.RIGHT),
        ("B1.1", {"below zero": None}, Judgement.INCOMPLETE),
        ("B1.2", {"second definition": "x * H(-x)"}, Judgement.WRONG),
        ("B1.2", {"first definition": "(x + abs(x)) / 2"}, Judgement.RIGHT),
        ("B2.1", {"translation": "x * c"}, Judgement.WRONG),
        ("B2.1", {"translation": "x - 2 * c"}, Judgement.RIGHT),
        ("B2.2", {"not invariant": "some c"}, Judgement.RIGHT),
        ("B2.2", {"not invariant": "some c", "c = 0": "1 / (K + 1)"}, Judgement.WRONG),
        ("B2.2", {"not invariant": "some c", "c to infinity": {"maxima": "1", "others": "0"}}, Judgement.WRONG),
        ("B2.2", {"not invariant": "some c", "c to infinity": None}, Judgement.INCOMPLETE),
        ("B2.4", {"parameters": "x[1] - x[i + 1]"}, Judgement.WRONG),
        ("B2.4", {"parameters": "x[i + 1] - x[2]"}, Judgement.WRONG),
        ("B3", {"output bias": "b + s"}, Judgement.WRONG),
        ("B3", {"first bias": "b"}, Judgement.WRONG),
        ("B3", {"first weight": "w"}, Judgement.WRONG),
        ("B3", {"output weight": None}, Judgement.INCOMPLETE),
        ("A6", {"forward value": "log(1)"}, Judgement.WRONG),
        ("A6", {"derivative": "1 / 1"}, Judgement.WRONG),
        ("A6", {"birth of NaN": "addmm"}, Judgement.RIGHT),
        ("A6", {"birth of NaN": "log"}, Judgement.WRONG),
    ],
)
def test_altered_data_is_judged_anew(name, claims, judgement):
    one = solved(name, claims)
    assert one.verdict is Verdict.HOLDS
    assert one.judgement is judgement
    for claim in one.answer.claims:
        assert claim.evidence.verdict is not Verdict.BROKEN or claim.counterexample


@pytest.mark.parametrize(
    ("name", "working", "judgement"),
    [
        ("B1.3", {"limit of": "sigmoid(x)"}, Judgement.RIGHT),
        ("B1.3", {"limit of": "tanh(x)"}, Judgement.INCOMPLETE),
        ("B1.3", {"limit of": None}, Judgement.RIGHT),
        ("B3", {"argument of tanh": "(s + b) / 2"}, Judgement.RIGHT),
        ("B3", {"argument of tanh": "s / 2 + b / 2"}, Judgement.RIGHT),
        ("B3", {"argument of tanh": "s + b / 2"}, Judgement.INCOMPLETE),
    ],
)
def test_a_step_of_the_working_is_judged_by_its_data(name, working, judgement):
    assert solved(name, working=working).judgement is judgement


def test_counterexamples_hold_both_numbers():
    (invariance,) = [claim for claim in solved("B2.2").answer.claims if claim.about == "not invariant"]
    assert invariance.counterexample.startswith("S(cx) = S(x) for c = 1 with x = (1.0, 2.0, 4.0); c = -2,")
    (working,) = [claim for claim in solved("B3").answer.claims if claim.about == "argument of tanh"]
    assert working.counterexample.startswith("with tanh(s / 2 + b) an output becomes -2.0")
    (limit,) = [claim for claim in solved("B1.3").answer.claims if claim.about == "limit of"]
    assert limit.counterexample.endswith("where H(x) is 1")


def test_the_first_nan_is_born_behind_log_lu_unless_all_weights_there_have_one_sign():
    given, births = _step(*_layers(one_sign=False))
    assert (given <= 0).any() and births[0].place == "the dense layer behind LogLU"
    _, later = _step(*_layers(one_sign=True))
    assert later[0].place not in {"LogLU", "the dense layer before LogLU", "the dense layer behind LogLU"}


def test_no_nan_is_born_where_nothing_meets_a_pole():
    layers = _layers(one_sign=False)
    layers[0].bias.data.fill_(100.0)
    given, births = _step(*layers)
    assert (given > 0).all() and births == []


@pytest.mark.parametrize("name", QUESTIONS)
def test_an_answer_needs_no_posted_one(name):
    answer = all_solvers()[name](Posted())
    assert answer.claims == () and answer.says and 2 <= len(answer.derivation) <= 6


@pytest.mark.parametrize("name", ["B1.3", "B2.2"])
def test_drawings_are_whole_pictures(name):
    for drawing in solved(name).answer.drawings:
        root = ET.fromstring(drawing.svg)  # noqa: S314 - our own
        assert root.get("viewBox") and len(root.findall("{http://www.w3.org/2000/svg}polyline")) >= 3
        numbers = [float(one) for line in root.iter("{http://www.w3.org/2000/svg}polyline") for one in line.get("points").replace(",", " ").split()]
        assert all(0 <= one <= 520 and math.isfinite(one) for one in numbers)
        assert max(map(len, drawing.text.splitlines())) <= 90
