"""`torchstone solve conv` on the command line: what is printed, drawn, written and refused, and without torch."""

import json
import re
import subprocess
import sys
from xml.etree.ElementTree import XMLParser

import pytest
from typer.testing import CliRunner

from torchstone.cli import application
from torchstone.cli.solve_conv import gathered
from torchstone.report.convolution import runs, solution_lines, solutions_to_json
from torchstone.report.convolution_drawing import draw
from torchstone.solve import conv


def run(*words):
    return CliRunner().invoke(application(), gathered(["solve", "conv", *words]), env={"COLUMNS": "200", "NO_COLOR": "1"})


def test_the_issues_example():
    done = run("--in", "3x64x64", "--out", "64x32x32", "--kernel", "8", "--dilation", "1", "--draw")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "3x64x64 → 64x32x32: 6 settings of a convolution fit (each up to 64), simplest first"
    assert lines[2].split()[:4] == ["8", "2", "3", "1"]
    assert "output 0    □□□■■■■■···" in done.stdout


def test_unread_inputs_are_told():
    done = run("--in", "64x32x32", "--out", "64x8x8", "--kernel", "3", "--stride", "4", "--padding", "0")
    assert "448 of 1,024: 3, 7, …, 31 along each axis; 9 of 16 read" in done.stdout


def test_a_chain_needs_no_quotes():
    words = "--in 3x256x256 --channels 64 --kernel 8 --stride 2 --then pool 5 --then conv 4 --channels 128 --padding 1"
    done = run(*words.split())
    assert done.exit_code == 0
    assert done.stdout.startswith("3x256x256 → 128x24x24: 3 layers, 73,728 numbers come out")
    quoted = words.replace("pool 5", "'pool 5'").replace("conv 4 --channels 128 --padding 1", "'conv 4 --channels=128 --padding=1'")
    import shlex

    assert run(*shlex.split(quoted)).stdout == done.stdout


def test_what_belongs_to_the_whole_question_may_come_last(tmp_path):
    words = "--in 3x32 --kernel 3 --then pool --out 3x15 --no-bias --draw 2 --json"
    done = run(*words.split(), str(tmp_path / "c.json"))
    assert done.exit_code == 0, done.stderr
    assert len(json.loads((tmp_path / "c.json").read_text())["layers"]) == 2
    assert "30 → 15: kernel 2, stride 2" in done.stdout


def test_what_is_gathered():
    assert gathered(["check", "--then", "a", "b"]) == ["check", "--then", "a", "b"]
    assert gathered(["solve", "conv", "--draw", "--svg", "f"]) == ["solve", "conv", "--draw", "1", "--svg", "f"]
    assert gathered(["solve", "conv", "--draw", "3"]) == ["solve", "conv", "--draw", "3"]
    assert gathered(["solve", "conv", "--then", "pool", "2", "--json=f"]) == ["solve", "conv", "--then", "pool 2", "--json=f"]
    assert gathered(["solve", "conv", "--then"]) == ["solve", "conv", "--then", ""]


def test_a_limit_and_all():
    words = ["--in", "3x8", "--out", "3x4", "--max", "5"]
    few, whole = run(*words, "--limit", "3").stdout, run(*words, "--all").stdout
    total = len(conv("3x8", "3x4", maximum=5))
    assert f"… {total - 3:,} more" in few
    assert len(whole.splitlines()) == total + 2


def test_json_and_svg(tmp_path):
    plain, drawn = tmp_path / "s.json", tmp_path / "s.svg"
    done = run("--in", "3x20x9", "--out", "3x10x3", "--json", str(plain), "--svg", str(drawn))
    assert done.exit_code == 0
    held = json.loads(plain.read_text())
    found = conv("3x20x9", "3x10x3")
    assert (held["count"], held["shared"], len(held["solutions"])) == (found.total, found.shared, 20)
    assert held["solutions"][0]["kernel"] == [axis.kernel for axis in found[0].spec.axes]
    svg = drawn.read_text()
    assert svg.startswith("<svg") and svg.endswith("</svg>") and svg.count("<g ") == 2
    XMLParser().feed(svg)  # noqa: S314 - our own text


def test_nothing_fits_is_exit_code_one_with_the_reason():
    done = run("--in", "3x10", "--out", "3x10", "--kernel", "4", "--stride", "1", "--dilation", "1")
    assert done.exit_code == 1
    assert "no convolution fits" in done.stdout and "odd sizes only" in done.stdout and "nearest settings: kernel 3" in done.stdout
    done = run("--in", "3x8", "--kernel", "3", "--then", "conv", "3", "--padding", "0", "--out", "3x9")
    assert done.exit_code == 1 and "layer 2 (conv, from 3x6): nothing gives 3x9" in done.stderr


def test_axes_that_cannot_share_are_told():
    done = run("--in", "3x12x9", "--out", "8x6x3", "--kernel", "1..3", "--padding", "0", "--dilation", "1")
    assert "no single setting fits all axes: each axis has its own" in done.stdout


@pytest.mark.parametrize(("words", "said"), [
    ("--in 3x0x64 --kernel 1", "'3x0x64' came; write channels, then 1 to 3 sizes"),
    ("--in 3x-4 --kernel 1", "the input has 1 or more of everything"),
    ("--in abc --kernel 1", "the input is a shape of whole numbers"),
    ("--in 3x8x8 --kernel 9", "a kernel of at most 8 fits"),
    ("--in 3x8x8 --kernel 3 --stride 0", "stride must be 1 or more; '0' came"),
    ("--in 3x8x8 --kernel three", "kernel must be a whole number"),
    ("--in 3x8x8 --kernel 3 --channels 4.5", "--channels must be a whole number; '4.5' came"),
    ("--in 3x8x8 --kernel 3 --draw 2", "--draw 2: there are 1"),
    ("--in 3x8x8 --kernel 3 --draw -1", "--draw -1: there are 1"),
    ("--in 3x8x8 --kernel 3 --json /nowhere/f", "--json /nowhere/f cannot be written"),
    ("--in 3x8x8 --kernel 3 --then", "--then is followed by conv, pool or transposed"),
    ("--in 3x8x8 --kernel 3 --then --kernel 3", "--then is followed by conv, pool or transposed"),
    ("--in 3x8x8 --kernel 3 --then pol 3", "layer 2 (pol, from 3x6x6): a layer is conv, pool, transposed"),
    ("--in 3x8x8 --kernel 3 --then pool 3 --strid 2", "--then pool has no option --strid; did you mean '--stride'?"),
    ("--in 3x8x8 --kernel 3 --then pool 3 --in 3x4", "--then pool has no option --in; a further layer has --kernel, --stride,"),
    ("--in 3x8x8 --kernel 3 --then pool 3 --in 3x4", "--ceil-mode"),
    ("--in 3x8x8 --kernel 3 --then pool 3 --stride", "--then pool: --stride needs a value"),
    ("--in 3x8x8 --kernel 3 --then pool 3 --kernel 2", "--then pool has two values for kernel: 3 and 2"),
    ("--in 3x8x8 --kernel 3 --then pool 3 2", "--then pool has two values for kernel: 3 and 2"),
    ("--in 3x8x8 --kernel 3 --then conv 3 --groups two", "--groups must be a whole number; 'two' came"),
])  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_two(words, said):
    done = run(*words.split())
    assert done.exit_code == 2
    assert said in done.stderr and len(done.stderr.splitlines()) == 1
    assert not done.stdout


@pytest.mark.parametrize("words", [["--kernel", "3"], ["--in", "3x8", "--kernel", "3", "--limit", "0"], ["--in", "3x8", "--max", "x"]])
def test_what_typer_refuses_is_exit_code_two(words):
    assert run(*words).exit_code == 2


def test_torch_is_not_needed():
    code = (
        "import sys; from torchstone.cli import main; sys.argv = 'torchstone solve conv --in 3x8 --out 3x4 --draw'.split()\n"
        "try: main()\nexcept SystemExit as end: print(end.code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False"


def test_a_drawing_shows_the_padding_the_unread_and_is_cut_where_it_is_long():
    (small,) = conv((1, 10), kernel=2, stride=3, padding="1,0")
    assert draw(small).text.splitlines() == [
        "         p0123456789",
        "output 0 □■·········",
        "output 1  ··■■······",
        "output 2  ·····■■···",
        "output 3  ········■■",
        "unread     ×  ×  ×",
        "■ reads an input, □ reads padding, × unread",
    ]
    (large,) = conv((1, 1000), kernel=3, stride=2)
    text = draw(large).text
    assert max(map(len, text.splitlines())) < 130 and "…" in text
    assert len(text.splitlines()) < 20
    (up,) = conv((1, 3), kernel=2, stride=3, transposed=True, padding=1)
    assert draw(up).text.splitlines() == [
        "          p012345p",
        "input 0   □■·····",
        "input 1    ··■■··",
        "input 2    ·····■□",
        "unwritten   ×  ×",
        "■ writes an output, □ cropped away, × unwritten",
    ]


def test_each_axis_that_differs_is_drawn():
    (one,) = conv((1, 21, 12), kernel=(4, 5), stride=4)
    drawn = draw(one)
    assert drawn.title == "21x12 → 5x2"
    assert re.findall(r"^\d+ → \d+", drawn.text, re.MULTILINE) == ["21 → 5", "12 → 2"]


def test_runs_of_positions():
    assert runs([]) == ""
    assert runs([5]) == "5"
    assert runs([0, 1, 2, 9]) == "0-2, 9"
    assert runs(range(0, 100, 2)) == "0, 2, …, 98"


def test_a_transposed_table_tells_what_is_not_written():
    lines = [line.plain for line in solution_lines(conv((1, 4), (1, 8), kernel=1, dilation=1, transposed=True))]
    assert "unwritten outputs" in lines[1]
    assert lines[2].endswith("4 of 8: 1, 3, …, 7")
    assert json.loads(solutions_to_json(conv((1, 4), (1, 80), kernel=1, padding=0)))["why"]
