"""Proofs as a table, alone in full, as JSON and as LaTeX."""

import io
import json
import math
import re
from dataclasses import replace

import pytest
from rich.console import Console

from torchstone import laws
from torchstone.core.evidence import Evidence, Relation, Site
from torchstone.core.law import Kind
from torchstone.core.proof import Mutant, Proof, ProofReport
from torchstone.core.quantity import EXACT, Amount, Quantity, Tolerance, Unit
from torchstone.report.proof import describe, print_proofs, to_json, to_latex

assert laws.__all__
UNIFORM, SQUARED, SHAPE = "loss.uniform_cross_entropy", "loss.constant_squared_error", "initialization.head_spread"


def evidence(law=UNIFORM, predicted=2.0, measured=2.0, tolerance=1e-12, relation=Relation.EQUAL, reason="", unit=Unit.NATS):
    found = None if measured is None else Quantity(measured, unit)
    allowed = Tolerance(rounding=Amount(tolerance, "float64")) if tolerance else EXACT
    return Evidence(law, Site(), Quantity(predicted, unit), found, allowed, relation, "classes=3", reason)


def proof(law=UNIFORM, worst=None, samples=20, broken=0, undecided=0, mutants=None, fault=""):
    return Proof(law, Kind.BOUND, "float64", samples, broken, undecided, worst, 0.25, mutants, fault)


CAUGHT, PASSED = Mutant("base 2", evidence(measured=3.0)), Mutant("_ & %", None)
HELD = proof(worst=evidence(measured=2 + 1e-13))
BROKEN = proof(SQUARED, evidence(SQUARED, measured=2.5, relation=Relation.AT_MOST), broken=3)
UNDECIDED = proof(SHAPE, evidence(SHAPE, measured=None, reason="no device"), undecided=20)


def printed(*proofs, width=40, terminal=False):
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    print_proofs(ProofReport(proofs, 1.25), console)
    return console.file.getvalue()


def test_a_pipe_gets_a_whole_line_a_law_and_what_failed_below():
    lines = printed(HELD, BROKEN, UNDECIDED).splitlines()
    assert lines[0].split("  ")[0] == "law"
    assert re.split(r"  +", lines[1]) == [UNIFORM, "bound", "float64", "20", "1e-13", "1e-12", "holds", "0.25"]
    assert re.split(r"  +", lines[2]) == [SQUARED, "bound", "float64", "20", "+0.5", "1e-12", "broken", "0.25"]
    assert re.split(r"  +", lines[3]) == [SHAPE, "bound", "float64", "20", "-", "-", "undecided", "0.25"]
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[4:] == [
        "",
        f"✗ {SQUARED}: predicted at most 2, measured 2.5 nats, tolerance rounding 1e-12 (float64) (classes=3)",
        f"? {SHAPE}: predicted 2, nothing measured, tolerance rounding 1e-12 (float64) (classes=3); undecided: no device",
        "3 laws: 1 held, 1 broken, 1 undecided · 60 samples · 1.2 s",
    ]


@pytest.mark.parametrize(("width", "left"), [(200, 8), (88, 7), (80, 6), (72, 5), (62, 4), (10, 4)])
def test_a_narrow_terminal_goes_without_columns_but_never_without_the_verdict(width, left):
    table = printed(HELD, BROKEN, width=width, terminal=True).splitlines()[:3]
    assert len(re.split(r"  +", table[1])) == left
    assert "holds" in table[1] and "broken" in table[2]
    if left > 4:
        assert max(map(len, table)) <= width


def test_a_long_way_of_holding_is_cut_in_the_table_and_whole_alone():
    long = replace(HELD, how="float64, the momentum that lands found by running torch.optim.SGD")
    assert "float64, the momentum that lands found …" in printed(long, BROKEN)
    assert f"held: {long.how}\n" in printed(long)
    assert long.how in to_latex(ProofReport((long,), 1.0))


def test_mutants_that_pass_and_laws_without_teeth_are_told():
    text = printed(proof(worst=evidence(), mutants=(CAUGHT, PASSED)), proof(SQUARED, evidence(SQUARED), mutants=(PASSED,)))
    assert text.splitlines()[0].endswith("mutants")
    assert text.splitlines()[1].endswith("1/2")
    assert f"! let pass: {UNIFORM}: _ & %\n✗ toothless: {SQUARED}: _ & %\n" in text
    assert "1 of 3 mutants caught, 1 toothless" in text


def test_a_fault_is_told_and_so_is_an_experiment_without_evidence():
    text = printed(proof(fault="ValueError: no", samples=0), proof(SQUARED, samples=0))
    assert f"✗ {UNIFORM}: the part raised ValueError: no" in text
    assert f"? {SQUARED}: its experiment gave no evidence" in text


def test_a_law_alone_is_told_in_full():
    text = printed(proof(worst=evidence(measured=2 + 1e-13), mutants=(CAUGHT, PASSED)))
    assert text.splitlines()[3:] == [
        "The cross-entropy of a prediction that knows nothing is ln k, whatever the targets are.",
        "held: float64",
        "worst sample: ✓ predicted 2, measured 2 nats (1e-13 apart), tolerance rounding 1e-12 (float64) (classes=3)",
        "mutant “base 2” caught: predicted 2, measured 3 nats, tolerance rounding 1e-12 (float64) (classes=3)",
        "mutant “_ & %” let pass",
        "",
        "1 law: 1 held, 0 broken, 0 undecided · 20 samples · 1 of 2 mutants caught, 0 toothless · 1.2 s",
    ]
    alone = printed(proof(fault="ValueError: no", samples=0, mutants=(PASSED,)))
    assert "✗ the part raised ValueError: no" in alone
    assert "✗ toothless: no mutant breaks it" in alone


@pytest.mark.parametrize(("item", "said"), [
    (evidence(unit=Unit.VALUE, tolerance=0), "predicted 2, measured 2, tolerance exact (classes=3)"),
    (evidence(measured=math.nan), "predicted 2, measured nan nats, tolerance rounding 1e-12 (float64) (classes=3)"),
    (evidence(measured=math.inf, relation=Relation.AT_LEAST), "predicted at least 2, measured inf nats, tolerance rounding 1e-12 (float64) (classes=3)"),
])
def test_evidence_in_a_line(item, said):
    assert describe(item) == said


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


def test_json_is_valid_and_whole():
    nan = proof(SQUARED, evidence(SQUARED, measured=math.nan), broken=1, mutants=(CAUGHT, PASSED))
    read = json.loads(to_json(ProofReport((HELD, nan), 1.0)), parse_constant=refuse)
    assert (read["schema"], read["exit_code"], read["tally"]) == (1, 1, {"held": 1, "broken": 1, "undecided": 0, "toothless": 0})
    first, second = read["proofs"]
    assert (first["mutants"], first["toothless"], first["fault"]) == (None, None, None)
    assert first["statement"] == "The cross-entropy of a prediction that knows nothing is ln k, whatever the targets are."
    assert second["worst"]["measured"] == "nan"
    assert [mutant["broken_by"] is not None for mutant in second["mutants"]] == [True, False]
    assert second["toothless"] is False


def test_latex_has_a_row_a_law_a_column_a_heading_and_what_failed():
    text = to_latex(ProofReport((proof(worst=evidence(), mutants=(CAUGHT, PASSED)), BROKEN), 1.0))
    columns = re.search(r"begin\{longtable\}\{(.*)\}$", text, re.MULTILINE)[1].replace("p{55mm}", "p")
    rows = [line for line in text.splitlines() if line.endswith((r"\\", r"\\ \hline"))]
    assert len(rows) == 3
    assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)} == {9}
    assert r"loss.uniform\_cross\_entropy" in text
    assert r"\_ \& \%" in text
    assert "measured 2.5 nats" in text
