"""Answered questions as text, line by line, and as JSON."""

import io
import json

import pytest
from rich.console import Console

from report.answered import ALL, FAULT, INCOMPLETE, NOT_A_NUMBER, OPEN, RIGHT, UNDECIDED, UNHELD, WRONG, question
from torchstone.report.problem import counts, exit_code, print_problems, print_questions, tally, to_json

WHOLE = """\
A2          What is the <size> of A2?
  answer    half & half <b>
            second
  because   step one
            step two
  remark    a remark
  evidence  ✓ convolution.output_size: predicted 2, measured 2, tolerance rounding 1e-12 (float64) (k=<3>)
  posted    wrong  3 & 4
            size: it is 2, not 3: 1 < 2
  claim     ✗ size: predicted 3, measured 2, tolerance rounding 1e-12 (float64) (k=<3>)

1 question: 1 answered, 0 not yet · posted: 1 wrong
"""
BRIEF = """\
A1          What is the <size> of A1?
  answer    half & half <b>
            second
  posted    right  2
B1          What is the <size> of B1?
  answer    half & half <b>
            second
  posted    incomplete  2
            does not say: rate
B2          What is the <size> of B2?
  answer    half & half <b>
            second
  posted    undecided  2
            undecided: size
B4          What is the <size> of B4?
  answer    half & half <b>
            second
  evidence  ✗ convolution.output_size: predicted 2, measured nan, tolerance rounding 1e-12 (float64) (k=<3>)
C1          What is the <size> of C1?
  fault: ValueError: <nothing>
C2          not yet  What is the <size> of C2?
document A  1 question: 1 answered, 0 not yet · posted: 1 right
document B  3 questions: 3 answered, 0 not yet · evidence does not hold for B4 · posted: 1 incomplete, 1 undecided
document C  2 questions: 0 answered, 1 not yet · fault in C1
6 questions: 4 answered, 1 not yet · fault in C1 · evidence does not hold for B4 · posted: 1 right, 1 incomplete, 1 undecided
"""


def printed(solved, *, whole, width=40, terminal=False):
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    print_problems(solved, console, whole=whole)
    return console.file.getvalue()


def test_a_question_in_whole():
    assert printed([WRONG], whole=True) == WHOLE


def test_many_questions_in_brief_with_a_tally_a_document():
    assert printed([RIGHT, INCOMPLETE, UNHELD, NOT_A_NUMBER, FAULT, OPEN], whole=False) == BRIEF


def test_a_drawing_is_shown_in_whole_and_an_open_question_says_so():
    text = printed([RIGHT, OPEN], whole=True)
    assert "  a & b\n    x|y\n" in text
    assert "C2          What is the <size> of C2?\n  not yet\n" in text


def test_a_narrow_terminal_gets_lines_wrapped_under_their_beginning():
    lines = printed([WRONG, UNDECIDED], whole=True, width=50, terminal=True).splitlines()
    assert max(map(len, lines)) <= 50
    first = next(i for i, line in enumerate(lines) if line.startswith("  evidence"))
    assert lines[first + 1].startswith(" " * 12) and lines[first + 1].strip()


def test_a_drawing_is_never_wrapped():
    wide = RIGHT.answer.drawings[0].__class__("wide", "-" * 90, "")
    answer = RIGHT.answer.__class__(("a",), (), RIGHT.answer.evidence, RIGHT.answer.claims, (wide,))
    solved = RIGHT.__class__(RIGHT.question, RIGHT.posted, answer)
    assert "-" * 90 in printed([solved], whole=True, width=50, terminal=True)


def test_questions_alone_are_listed_a_line_each():
    console = Console(file=io.StringIO(), width=40)
    print_questions([question("B5"), question("B7.1")], console)
    assert console.file.getvalue() == (
        "B5          convolution     What is the <size> of B5?\nB7.1        convolution     What is the <size> of B7.1?\n"
    )


@pytest.mark.parametrize(("solved", "code"), [
    ([RIGHT, WRONG, INCOMPLETE, UNHELD, OPEN], 0), ([RIGHT, UNDECIDED], 0), ([NOT_A_NUMBER], 1), ([FAULT], 1), ([], 0),
])
def test_a_fault_or_evidence_of_our_own_that_does_not_hold_makes_the_exit_code(solved, code):
    assert exit_code(solved) == code


def test_counts_sum_to_the_questions():
    count = counts(ALL)
    assert count["answered"] + count["not yet"] + count["faults"] == count["questions"] == len(ALL)
    assert (count["right"], count["wrong"], count["incomplete"], count["undecided"]) == (1, 1, 1, 1)
    assert tally([OPEN]) == "1 question: 0 answered, 1 not yet"


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


def test_json_is_valid_and_whole():
    text = to_json(ALL)
    read = json.loads(text, parse_constant=refuse)
    assert (read["schema"], read["exit_code"], read["tally"]["faults"]) == (1, 1, 1)
    assert {letter: part["questions"] for letter, part in read["documents"].items()} == {"A": 2, "B": 4, "C": 2}
    problems = {one["id"]: one for one in read["problems"]}
    assert problems["B4"]["evidence"][0]["measured"] == "nan"
    assert problems["C1"]["fault"] == "ValueError: <nothing>"
    assert problems["C1"]["verdict"] == "broken"
    assert (problems["C2"]["answered"], problems["C2"]["answer"], problems["C2"]["verdict"]) == (False, None, None)
    assert problems["A2"]["posted"]["claims"][0]["counterexample"] == "it is 2, not 3: 1 < 2"
    assert problems["A2"]["posted"]["judgement"] == "wrong"
    assert problems["B1"]["posted"]["missing"] == ["rate"]
    assert problems["B2"]["posted"]["objections"] == ["undecided: size"]
