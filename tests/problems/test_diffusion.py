"""The answers about diffusion and the variational bottleneck: computed, and what they say."""

import re

import pytest

from torchstone.core.evidence import Verdict
from torchstone.parts import diffusion as parts
from torchstone.problems import diffusion
from torchstone.problems.answering import all_questions, answer


@pytest.mark.parametrize("name", ["D10a", "D10b", "D10c", "D11a", "D11b"])
def test_every_part_asked_is_spoken_of(name):
    (one,) = answer(name)
    assert one.verdict is Verdict.HOLDS, one.fault
    spoken = {line.partition(":")[0] for line in one.answer.says}
    assert set(all_questions()[name].asks) <= spoken


def test_the_product_is_unrolled_by_sympy():
    (one,) = answer("D10a")
    assert one.answer.says[0].endswith("0.9, 0.72, 0.504, 0.378") and "+ 0, by sympy" in one.answer.says[1]


def test_product_and_quotient_are_one_number():
    (one,) = answer("D10b")
    assert "0.42 as product, 0.42 as quotient" in one.answer.says[1]


def test_the_joint_law_is_measured_beside_the_wrong_recipe():
    (one,) = answer("D10c")
    measured, law, wrong = (float(number) for number in re.findall(r"0\.\d{4}", one.answer.says[2]))
    assert abs(measured - law) < 0.01 and abs(law - (1.7 / 4) ** 0.5) < 1e-4 and law - wrong > 0.2


def test_a_pair_with_noise_of_its_own_at_each_level_would_break_the_answer(monkeypatch):
    def apart(x, first, second, one, two):
        return (x + first**0.5 * one) / (1 + first) ** 0.5, (x + second**0.5 * two) / (1 + second) ** 0.5

    monkeypatch.setattr(diffusion, "noisy_pair", apart)
    (one,) = answer("D10c")
    assert one.verdict is Verdict.BROKEN


def test_a_jump_that_counts_a_step_twice_would_break_the_answer(monkeypatch):
    monkeypatch.setattr(parts.NoiseSchedule, "jump", lambda self, t, tau: self.alpha(tau) / self.alpha(t - 1))
    (one,) = answer("D10b")
    assert one.verdict is Verdict.BROKEN


def test_which_term_reaches_what_is_read_off_the_graph():
    (one,) = answer("D11b")
    encoder, decoder = one.answer.says
    assert encoder.startswith("encoder: gradients from task and regulariser") and decoder.startswith("decoder: gradients from task;")
    assert decoder.endswith("regulariser 0")


def test_the_block_diagram_shows_every_quantity():
    (one,) = answer("D11a")
    (drawn,) = one.answer.drawings
    assert all(f"[{word}]" in drawn.text for word in ("mu", "sigma", "V ~ N(0, 1)", "×", "+", "z"))
