"""The answers about normalisation and about the tied embedding: computed, and what they say."""

import math
import re

import pytest

from torchstone.core.errors import InvariantError
from torchstone.core.evidence import Verdict
from torchstone.laws import initialization
from torchstone.laws.norm import maps, stack
from torchstone.problems import initialization as tied
from torchstone.problems.answering import all_questions, answer


@pytest.mark.parametrize(("name", "says"), [
    ("D12a", ("norm: ‖f‖ scales by a", "gradient: the downstream gradient does not change")),
    ("D12c", ("norm: ‖h‖ does not change: it is sqrt(d), 2.449 for d = 6", "gradient: the downstream gradient scales by 1/a")),
    ("D12e", ("stream: x_l = (2 l + 1) x_0: 1, 3, 5, 7, 9, 11, 13 times x_0 for l = 0 to 6",)),
])  # fmt: skip
def test_what_is_said_is_computed(name, says):
    (one,) = answer(name)
    assert one.answer.says == says and one.verdict is Verdict.HOLDS


@pytest.mark.parametrize("name", ["D9", "D12a", "D12b", "D12c", "D12d", "D12e", "D12f"])
def test_every_part_asked_is_spoken_of(name):
    (one,) = answer(name)
    assert one.verdict is Verdict.HOLDS, one.fault
    assert tuple(line.partition(":")[0] for line in one.answer.says) == all_questions()[name].asks


def test_the_two_types_are_told_apart_and_drawn():
    (one,) = answer("D12d")
    assert one.answer.says[0].startswith("style: encoder: of 5 positions 25 pairs") and "equivalent: no" in one.answer.says[1]
    assert "type 1 (post)" in one.answer.drawings[0].text


def test_lower_layers_get_larger_gradients():
    (one,) = answer("D12f")
    assert "13, 4.333, 2.6, 1.857, 1.444, 1.182, 1" in one.answer.says[1] and one.answer.says[1].endswith("the larger")


def test_the_first_loss_of_the_summariser_is_reproduced_and_repaired():
    (one,) = answer("D9")
    wide = float(re.search(r"starts at ([\d.]+)", one.answer.says[0])[1])
    root, fixed = (float(number) for number in re.findall(r"(?:gives|²\)) ([\d.]+)", one.answer.says[1]))
    assert abs(wide - tied.WRONG) < 3
    assert fixed < math.log(tied.VOCABULARY) + 0.2 < root < math.log(tied.VOCABULARY) + 1.5


def test_every_word_of_the_batch_has_a_token_in_the_vocabulary():
    source, target = tied._batch()
    assert len(source) > 10 and source.max() < tied.VOCABULARY and target.max() < tied.VOCABULARY
    assert (target[:, 0] == tied.BEGIN).all()


@pytest.mark.parametrize("call", [
    lambda: maps.demean_scale(0.0), lambda: maps.normalize_scale(-1.0), lambda: maps.normalized_norm([0.0, 0.0]),
    lambda: maps.normalize_gradient([1.0], [1.0, 2.0]), lambda: maps.demean_gradient([]), lambda: maps.radial_gradient([1.0], [1.0], -1.0),
    lambda: maps.passing_directions(1), lambda: stack.identity_stream(-1), lambda: stack.identity_gradient([], [], 1, 0),
    lambda: stack.identity_gradient([1.0], [1.0], 1, 2), lambda: stack.identity_gradient_bound(0, 1, 0),
    lambda: stack.stream_variance(2, 1.5), lambda: stack.depth_gradient(-1, 2), lambda: initialization.tied_deviation(10, 4, 0.0),
])  # fmt: skip
def test_wrong_arguments_of_laws_are_refused(call):
    with pytest.raises(InvariantError):
        call()
