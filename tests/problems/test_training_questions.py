"""Answers about noise and optimizers: what they say is computed, and their evidence can fail."""

import math

import pytest

import torchstone.problems.noise.regression as regression
import torchstone.problems.optimization.adaptive as adaptive
from torchstone.core.evidence import Verdict
from torchstone.core.problem import Posted
from torchstone.parts import Adam
from torchstone.problems.answering import all_solvers


@pytest.mark.parametrize(("name", "said"), [
    ("C2.1", ("beta = alpha, delta = epsilon/(1 - alpha)", "and back: alpha = beta, epsilon = delta*(1 - beta)")),
    ("C2.2", ("v_t = sum over i = 1..t of (1 - beta) beta^(t-i) g_i",)),
    ("C2.3", ("E[v_t] = (1 - beta**t) E[g]: too small by beta**t of E[g], which fades with t",)),
    ("C4.1", ("gamma = lambda/(2*eta), that is lambda = 2*eta*gamma",)),
    ("C4.2", ("line 1, the gradient: g_t <- grad + lambda theta_{t-1}",)),
    ("D4a", ("exactly if every entry of M_t is lambda_r/(alpha*lambda_w): M_t = c I with lambda_r = alpha*c*lambda_w",)),
    ("D5", ("A = mu, B = sigma**2",)),
])  # fmt: skip
def test_an_answer_begins_so(name, said):
    assert all_solvers()[name](Posted()).says[: len(said)] == said


def test_another_optimizer_gives_another_line():
    evidence, apart = _named("l2")
    assert evidence.verdict is Verdict.BROKEN and evidence.measured.value == 1
    assert adaptive._nearest(apart) == "line 1, the gradient"


def _named(form):
    def made(parameters, **given):
        return Adam(parameters, decay=form, **given)

    return adaptive._tried("decoupled", made)


def test_no_line_is_no_number():
    def other(parameters, **given):
        return Adam(parameters, betas=(0.5, 0.5), decay="l2", **given)

    evidence, _ = adaptive._tried("l2", other)
    assert evidence.verdict is Verdict.BROKEN and any(math.isnan(one.value) for one in (evidence.measured, evidence.predicted))


def test_small_gradients_shrink_faster_under_l2_only():
    small, large = adaptive._quarters("l2")
    assert small > 10 * large
    small, large = adaptive._quarters("decoupled")
    assert small == pytest.approx(large, rel=0.2)


def test_a_wrong_variance_breaks_the_regressions_evidence(monkeypatch):
    monkeypatch.setattr(regression, "mask_moments", lambda p: (1 - p, p))
    assert any(one.verdict is Verdict.BROKEN for one in regression._sampled())
