"""Traces as text with aligned columns, as JSON, as LaTeX that compiles, and on the command line."""

import io
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from rich.console import Console
from typer.testing import CliRunner

from torchstone.cli import application
from torchstone.cli.trace import formula_last, numbers
from torchstone.core.errors import UsageError
from torchstone.report.trace import mathematics, print_trace, to_json, to_latex, variable
from torchstone.traces.layout import text
from torchstone.traces.notation import plain, signs, width, written
from torchstone.traces.table import Comparison, Verification
from torchstone.traces.tracing import trace, trace_function

FORMULA, POINT = "1/(x1+x2) + x2**2 + cos(x1)", {"x1": 3, "x2": 6}
REVERSE = """\
y = 1/(x1+x2) + x2**2 + cos(x1)   at x1 = 3, x2 = 6

evaluation trace             reverse adjoint trace, in the order of computing
v₋₁ = x1       =  3.00000    v̄₆     = ȳ            =  1.00000   seed
v₀  = x2       =  6.00000    v̄₄     = v̄₆           =  1.00000   from v₆ = v₄ + v₅
v₁  = v₋₁ + v₀ =  9.00000    v̄₅     = v̄₆           =  1.00000   from v₆ = v₄ + v₅
v₂  = 1/v₁     =  0.11111    v̄₋₁    = -v̄₅·sin(v₋₁) = -0.14112   from v₅ = cos(v₋₁)
v₃  = v₀²      = 36.00000    v̄₂     = v̄₄           =  1.00000   from v₄ = v₂ + v₃
v₄  = v₂ + v₃  = 36.11111    v̄₃     = v̄₄           =  1.00000   from v₄ = v₂ + v₃
v₅  = cos(v₋₁) = -0.98999    v̄₀     = v̄₃·2·v₀      = 12.00000   from v₃ = v₀²
v₆  = v₄ + v₅  = 35.12112    v̄₁     = -v̄₂/v₁²      = -0.01235   from v₂ = 1/v₁
y   = v₆       = 35.12112    v̄₋₁    = v̄₋₁ + v̄₁     = -0.15347   from v₁ = v₋₁ + v₀
                             v̄₀     = v̄₀ + v̄₁      = 11.98765   from v₁ = v₋₁ + v₀
                             ∂y/∂x1 = v̄₋₁          = -0.15347
                             ∂y/∂x2 = v̄₀           = 11.98765

y = 35.12112   ∂y/∂x1 = -0.15347   ∂y/∂x2 = 11.98765
"""
FORWARD = """\
evaluation trace             forward derivative trace
                                                     along x1
v₋₁ = x1       =  3.00000    dv₋₁ = dx1            =  1.00000
v₀  = x2       =  6.00000    dv₀  = dx2            =  0.00000
v₁  = v₋₁ + v₀ =  9.00000    dv₁  = dv₋₁ + dv₀     =  1.00000
v₂  = 1/v₁     =  0.11111    dv₂  = -dv₁/v₁²       = -0.01235
v₃  = v₀²      = 36.00000    dv₃  = 2·v₀·dv₀       =  0.00000
v₄  = v₂ + v₃  = 36.11111    dv₄  = dv₂ + dv₃      = -0.01235
v₅  = cos(v₋₁) = -0.98999    dv₅  = -sin(v₋₁)·dv₋₁ = -0.14112
v₆  = v₄ + v₅  = 35.12112    dv₆  = dv₄ + dv₅      = -0.15347
y   = v₆       = 35.12112    dy   = dv₆            = -0.15347

y = 35.12112   ∂y/∂x1 = -0.15347
"""


def test_the_tables_stand_side_by_side():
    assert text(trace(FORMULA, POINT, "reverse")).startswith(REVERSE)
    assert FORWARD in text(trace(FORMULA, POINT, "forward", "x1"))


def test_what_was_held_is_said():
    lines = str(trace(FORMULA, POINT)).splitlines()
    assert lines[-2].startswith("✓ every row held against torch.func.jvp and vjp in float64: 27 numbers, ")
    assert lines[-1].startswith("✓ value and derivatives held against the formula, run by torch: ")


def test_columns_stay_aligned_whatever_the_numbers():
    found = text(trace("x*1e9 + exp(y)*1e-12 - z", {"x": -12345.678, "y": 0, "z": 0.5}))
    table = found.split("\n\n")[1].splitlines()[2:]
    assert {width(line.partition(" = ")[0]) for line in table} == {3}
    assert len({line.index("dv") for line in table[:-1]}) == 1


def test_precision_and_sizes():
    assert written(2 / 3, 2) == "0.67" and written(0.4, 0) == "4e-01" and written(0.01234, 5) == "0.01234" and written(9e-4, 5) == "9.00000e-04" and written(-0.0, 5) == "0.00000" and written(1e8, 1) == "1.0e+08"
    assert "0.1111111111" in text(trace(FORMULA, POINT), precision=10)


def test_plain_signs_for_a_terminal_that_has_no_others():
    found = text(trace("sqrt(x)**2", {"x": 0}), plain)
    assert found.isascii() and "! the derivative inf is born in dv_1 = dv_0/(2*v_1)" in found


class Ascii(io.StringIO):
    encoding = "ascii"


def test_the_console_decides_the_signs():
    ascii_out, out = Ascii(), io.StringIO()
    print_trace(trace("x*y", {"x": 1, "y": 2}), Console(file=ascii_out))
    print_trace(trace("x*y", {"x": 1, "y": 2}), Console(file=out, _environ={}))
    assert "v_1  = v_-1*v_0" in ascii_out.getvalue() and "\x1b" not in ascii_out.getvalue()
    assert "v₁  = v₋₁·v₀" in out.getvalue()


def test_births_are_in_words():
    said = str(trace("x*log(y)", {"x": 0, "y": 0})).splitlines()
    assert "! the value -inf is born in v₁ = log(v₀) = log(0)" in said
    assert "! the value nan is born in v₂ = v₋₁·v₁ = 0*(-inf)" in said
    assert "! the adjoint nan is born in v̄₀ = v̄₁/v₀" in said
    assert any(line.startswith("? ") and "come from one that is not finite and were not compared" in line for line in said)
    assert "! inf was given: v₀ = x" in str(trace("x+1", {"x": math.inf}))


def test_a_row_that_disagrees_is_shown():
    found = trace("x*y", {"x": 2, "y": 3})
    wrong = Comparison("dv_1 along x", 3.0, 4.0, 1e-15, "16 roundings")
    broken = replace(found, verification=Verification((wrong,), (replace(wrong, name="dy/dx"),), "the function itself"))
    said = str(broken).splitlines()
    assert broken.exit_code == 1
    assert "✗ dv₁ along x: the trace has 3, torch gives 4; difference 1.0e+00, tolerance 1.0e-15 (16 roundings)" in said
    assert "✗ ∂y/∂x: the trace has 3, the function itself has 4; difference 1.0e+00, tolerance 1.0e-15 (16 roundings)" in said


def test_variables_may_be_called_as_rows_are():
    found = trace("v_1*y", {"v_1": 2, "y": 3})
    assert "v₋₁ = v_1" in str(found) and "∂y/∂v_1 = " in str(found)
    assert "\\mathrm{v\\_1}" in to_latex(found) or "$v_{-1}$ & $= v_{1}$" in to_latex(found)


def test_json_has_everything_and_only_valid_numbers():
    found = json.loads(to_json(trace("log(x)*y", {"x": 0, "y": 2})), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert found["schema"] == 1 and found["at"] == {"x": 0.0, "y": 2.0} and found["value"] == "-inf"
    assert [row["name"] for row in found["values"]] == ["v_-1", "v_0", "v_1", "v_2", "y"]
    assert found["values"][2] == {"name": "v_1", "rule": "log(v_-1)", "number": "-inf"}
    assert found["not_finite"][0]["name"] == "v_1" and found["seeds"][1] == {"name": "y", "direction": [0.0, 1.0]}
    assert found["verification"]["failed"] == [] and all(row["holds"] for row in found["verification"]["rows"])
    assert len(found["verification"]["rows"]) == found["verification"]["numbers"]


def awkward():
    def gate(x, σ, long_name):  # noqa: PLC2401 - users have such names
        return torch.where(x > σ, x**-0.5, -x) * torch.maximum(x, long_name) - 1e-9 * σ

    import torch

    return [
        trace(FORMULA, POINT), trace(FORMULA, POINT, "reverse"), trace("x*log(y)", {"x": 0, "y": 0}), trace("x", {"x": 1}, "forward"),
        trace_function(gate, {"x": 2, "σ": 0.3, "long_name": 1e-12}), trace("größe*变量 + x²", {"größe": 1, "变量": 2, "x": 3}),
        trace("tanh(x)**y*abs(x) + relu(x) + min(x, 1e-30)", {"x": 0.5, "y": 3.0}), trace("+".join(f"x{i}" for i in range(300)), dict.fromkeys((f"x{i}" for i in range(300)), 1)),
    ]  # fmt: skip


def test_latex_has_as_many_cells_in_each_row_as_columns():
    for found in awkward():
        document = to_latex(found)
        assert document.isascii() and document.count("{") == document.count("}") and document.count("$") % 2 == 0
        for layout, body in re.findall(r"\\begin\{longtable\}\[l\]\{([^\n]*)\}\n(.*?)\\end\{longtable\}", document, re.DOTALL):
            columns = len(re.sub(r"@\{(?:[^{}]|\{[^}]*\})*\}|\|", "", layout))
            rows = [row for row in body.splitlines() if row.endswith(r"\\") and "multicolumn" not in row]
            assert rows and {row.count("&") + 1 for row in rows} == {columns}


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
@pytest.mark.slow
def test_latex_compiles(tmp_path):
    for position, found in enumerate(awkward()):
        path = tmp_path / f"trace{position}.tex"
        path.write_text(to_latex(found), encoding="utf-8")
        done = subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", path.name], cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


@pytest.mark.parametrize(
    ("rule", "latex"),
    [
        ("v_1**v_0", "v_{1}^{v_{0}}"), ("0.5*v_0**(-0.5)*dv_0", r"0.5\cdot v_{0}^{-0.5}\cdot \dot{v}_{0}"), ("relu(v_0)", r"\operatorname{relu}(v_{0})"),
        ("v_0 >= 1e-09", r"v_{0} \ge  1 \cdot 10^{-9}"), ("2/sqrt(pi)", r"2/\operatorname{sqrt}(\pi )"), ("v_-1**(v_0 - 1)", "v_{-1}^{v_{0} - 1}"),
    ],
)  # fmt: skip
def test_rules_in_latex(rule, latex):
    assert mathematics(rule) == latex


def test_variables_in_latex():
    assert variable("x12") == "x_{12}" and variable("x_3") == "x_{3}" and variable("loss_1a") == r"\mathrm{loss\_1a}"
    assert variable("变") == r"\mathrm{(CJK UNIFIED IDEOGRAPH-53D8)}" and variable("θ1", r"\dot") == r"\dot{\theta}_{1}"


def test_signs_of_rules():
    assert signs("0.5*v_10**(-2)*dv_10") == "0.5·v₁₀⁻²·dv₁₀" and signs("v_0**(-0.5)") == "v₀^(-0.5)" and signs("v_0 <= 1") == "v₀ ≤ 1"


def test_a_drawing_has_every_row():
    drawn = trace(FORMULA, POINT).svg()
    assert drawn.count("<text") > 60 and "cos(v₋₁)" in drawn and 'viewBox="0 0 ' in drawn
    assert "&lt;" in trace_function(lambda x: __import__("torch").where(x < 1, x, -x), {"x": 2}).svg()


def command(*words):
    done = CliRunner().invoke(application(), formula_last(["trace", *words]))
    return done.exit_code, done.stdout, done.stderr


def test_the_command_writes_what_it_shows(tmp_path):
    code, out, err = command(FORMULA, "--at", "x1=3,x2=6", "--mode", "reverse", "--json", str(tmp_path / "t.json"), "--latex", str(tmp_path / "t.tex"))
    assert (code, err) == (0, "") and out.startswith(REVERSE) and "\x1b" not in out
    assert json.loads((tmp_path / "t.json").read_text())["value"] == pytest.approx(35.1211186)
    assert r"\begin{longtable}" in (tmp_path / "t.tex").read_text()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["-x**2", "--at", "x=-3"], 0), (["--at", "x=-3", "-x**2"], 0), (["--at=x=-3", "-x**2", "--precision", "2"], 0), (["--at", "x=1", "--", "-x"], 0),
        (["--x", "--at", "x=1"], 2), (["x*y", "--at", "x=1", "--at", "y = 2"], 0), (["log(x)", "--at", "x=0"], 1), (["-(x)", "--at", "x=1", "--seed", "x=-2"], 0),
        (["x", "--at", "x=1", "--seed", "x", "--mode", "forward"], 0), (["x", "--at", "x=inf"], 1),
    ],
)  # fmt: skip
def test_exit_codes_and_formulas_that_begin_with_a_minus(words, code):
    assert command(*words)[0] == code


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x*y", "--at", "x=1"], "no value was given for y: the formula has the variables x, y"),
        (["x", "--at", "x=1,x=2"], "--at gives x twice: 1 and 2"), (["x", "--at", "x"], "--at needs name=number, such as x=1,y=2; 'x' came"),
        (["x", "--at", "x=one"], "--at x needs a number, such as 0.5 or pi/2; 'one' came"), (["x", "--at", "x=1,"], "--at needs name=number"),
        (["x", "--at", "=1"], "--at needs name=number"), ([], "give one of two: a formula, such as 'x**2 + sin(y)', or --function file.py:name"),
        (["x", "--function", "f.py:f"], "give one of two"), (["x", "--at", "x=1", "--precision", "99"], "--precision is a number of digits from 0 to 15; 99 came"),
        (["x", "--at", "x=1", "--mode", "sideways"], "mode is one of forward, reverse, both; 'sideways' came"), (["x", "--at", "x=1", "--seed", "z"], "the seed 'z' is no variable"),
        (["2x", "--at", "x=1"], "an operator is missing between '2' and 'x': for a product write 2*x"), (["x"], "no value was given for x"),
        (["--function", "nowhere.py:f", "--at", "x=1"], "there is no file nowhere.py"), (["x", "--at", "x=1", "--json", "/nowhere/t.json"], "--json /nowhere/t.json cannot be written"),
        (["(" * 10_000, "--at", "x=1"], "the formula is nested deeper than 1,000 levels"),
    ],
)  # fmt: skip
def test_bad_input_is_one_message_and_exit_code_2(words, said):
    code, out, err = command(*words)
    assert (code, out) == (2, "") and err.startswith(f"torchstone: {said}")


def test_a_function_on_the_command_line(tmp_path):
    path = tmp_path / "f.py"
    path.write_text("import torch\ndef good(x):\n    return torch.sin(x)\ndef bad(x):\n    return x if x > 0 else -x\n")
    assert command("--function", f"{path}:good", "--at", "x=1")[0] == 0
    code, out, err = command("--function", f"{path}:bad", "--at", "x=1")
    assert (code, out) == (2, "") and err.startswith("torchstone: f.py:5: the function branches on a tensor's value")


def test_a_formula_is_moved_behind_the_options():
    assert formula_last(["prove", "-x"]) == ["prove", "-x"]
    assert formula_last(["trace", "-h"]) == ["trace", "-h"] and formula_last(["trace", "--help"]) == ["trace", "--help"]
    assert formula_last(["trace", "--at", "x=1", "-x+1", "--mode=both"]) == ["trace", "--at", "x=1", "--mode=both", "--", "-x+1"]
    assert numbers(["a=1, b=-2e3", "c = inf"], "--at") == {"a": 1.0, "b": -2000.0, "c": math.inf}
    assert numbers(["a=pi/2,b=-1/4"], "--at") == {"a": math.pi / 2, "b": -0.25}
    with pytest.raises(UsageError, match="--seed needs name=number"):
        numbers([""], "--seed")


def test_only_whole_exponents_are_raised():
    shown = str(trace("x**0.5 + x**2.5 + x**3 + x**(-2) + x**1e308", {"x": 1}))
    for rule in ("= v₀^0.5 ", "= v₀^2.5 ", "= v₀³ ", "= v₀⁻² ", "= v₀^(1e+308) ", "0.5·v₀^(-0.5)·dv₀", "2.5·v₀^1.5·dv₀"):
        assert rule in shown, rule
    assert signs("v_0**12.5 + v_0**12") == "v₀^12.5 + v₀¹²"
    assert [mathematics(f"v_0**{power}") for power in ("0.5", "12", "1e+308", "(-0.5)")] == [
        "v_{0}^{0.5}", "v_{0}^{12}", r"v_{0}^{1 \cdot 10^{308}}", "v_{0}^{-0.5}",
    ]  # fmt: skip


def test_conventions_are_not_silent(tmp_path):
    code, output, _ = command("0**x", "--at", "x=0", "--json", str(tmp_path / "t.json"), "--latex", str(tmp_path / "t.tex"))
    assert code == 0
    assert "at this point the rule is torch's convention" in " ".join(output.split())
    (remark,) = json.loads((tmp_path / "t.json").read_text())["remarks"]
    assert (remark["name"], remark["partial"], remark["number"]) == ("v_1", "v_1*log(0)", 0.0) and "convention" in remark["says"]
    assert "torch's convention" in (tmp_path / "t.tex").read_text()
    assert json.loads(to_json(trace("x", {"x": 1})))["remarks"] == []


def test_a_seed_without_a_number_and_a_function_that_exits(tmp_path):
    code, _, output = command("x*y", "--at", "x=1,y=2", "--seed", "x=nan")
    assert code == 2 and "the seed needs finite numbers" in output
    (tmp_path / "exits.py").write_text("import sys\n\ndef f(x):\n    sys.exit(3)\n")
    code, _, output = command("--function", f"{tmp_path / 'exits.py'}:f", "--at", "x=1")
    assert code == 2 and "ends the program" in " ".join(output.split())
