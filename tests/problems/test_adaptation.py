"""The count of a soft prompt's parameters, with adapters and full tuning for comparison."""

from torchstone.core.evidence import Verdict
from torchstone.problems.answering import answer


def test_the_counts_are_computed_and_hold_on_modules():
    (solved,) = answer("D7b")
    assert solved.verdict is Verdict.HOLDS and solved.judgement is None
    prompt, adapters, full = solved.answer.says
    assert "25,600" in prompt and "983,040 at r = 8" in adapters and "13,015,864,320" in full
    counted = [one for one in solved.answer.evidence if one.how.startswith("counted on modules")]
    assert [one.measured.value for one in counted if one.law.endswith("prompt_parameters")] == [25_600]
    assert len(counted) == 3
