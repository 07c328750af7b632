"""`torchstone solve descent` as people type it."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from torchstone.cli import application


def run(*words):
    done = CliRunner().invoke(application(), ["solve", "descent", *map(str, words)])
    assert "Traceback" not in done.output
    return done


def refused(*words):
    done = run(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("torchstone: ")
    return done.stderr


def test_the_learning_rate_of_one_step():
    done = run("--function", "x**2/4", "--start", 1, "--steps", 1)
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "x**2/4 from x = 1: the learning rate η arriving in 1 step, gradient: x ← x − ηg",
        "  minimum          x = 0, where the function is 0",
        "  curvature        1/2 = 0.5; gradient descent diverges beyond η = 2/λ_max = 4",
        "  learning rate    2",
        "  each step        multiplies the error by 0 in the long run: it converges",
        "  run              ✓ arrives in step 1, in exact numbers, and stays there",
        "    step  x    f    g",
        "       0  1  1/4  1/2",
        "       1  0    0    0",
    ]


def test_the_momentum_of_two_steps():
    done = run("--function", "x**2/4", "--start", 1, "--steps", 2, "--optimizer", "momentum", "--learning-rate", 1)
    assert "  momentum         1/2 = 0.5\n" in done.stdout
    assert "✓ arrives in step 2, in exact numbers, but does not stay: the buffer carries the next step on" in done.stdout
    assert "       2    0     0    0  1/2\n" in done.stdout
    assert "with this momentum it diverges beyond η = 6" in done.stdout


def test_a_start_in_the_variables_order():
    done = run("--function", "x**2+3*y**2", "--start", "1,pi/2")
    assert done.exit_code == 0
    assert "from x = 1, y = 1.570796327:" in done.stdout
    assert "2 came as a start" in refused("--function", "x**2", "--start", "1,2")


def test_the_best_settings_of_a_quadratic_in_two_variables():
    done = run("--function", "x**2 + 10*y**2 - x", "--start", "x=1,y=2")
    assert "  curvature        from 2 to 20, condition number 10\n" in done.stdout
    rows = [line.split() for line in done.stdout.partition("best settings")[2].splitlines()[1:5]]
    assert [row[0] for row in rows] == ["gradient", "momentum", "averaged", "nesterov"]
    assert rows[0] == ["gradient", "1/11", "≈", "0.09090909091", "0", "9/11", "≈", "0.8181818182", "0.1", "69", "69"]
    assert "…" in done.stdout and max(len(line) for line in done.stdout.splitlines()) < 200


def test_several_solutions_are_numbered_and_a_strange_one_is_marked():
    done = run("--function", "x**2/4", "--steps", 2, "--optimizer", "nesterov", "--learning-rate", 1)
    assert "  momentum 1       -1 + sqrt(2) ≈ 0.4142135624\n" in done.stdout
    assert "  momentum 2       -sqrt(2) - 1 ≈ -2.414213562\n  unusual          a negative momentum works against the last step: torch refuses it\n" in done.stdout


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (5, "multiplies the error by 1.5 in the long run: it diverges"),
        (4, "multiplies the error by 1 in the long run: it neither converges nor diverges"),
        (1, "multiplies the error by 0.5 in the long run: it converges"),
    ],
)
def test_what_is_all_given_is_run_and_judged(rate, said):
    assert said in run("--function", "x**2/4", "--start", 1, "--steps", 3, "--learning-rate", rate).stdout


def test_what_is_written_is_what_is_printed(tmp_path):
    done = run("--function", "x**4", "--start", 3, "--learning-rate", 9, "--steps", 30, "--draw", "--json", tmp_path / "d.json", "--svg", tmp_path / "d.svg")
    assert done.exit_code == 0
    read = json.loads((tmp_path / "d.json").read_text())
    assert read["solutions"][0]["run"]["ended"] and read["solutions"][0]["radius"] is None
    assert read["schema"] == 1 and read["minima"][0]["largest"] is None
    assert (tmp_path / "d.svg").read_text().startswith("<svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.json", "d.svg"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--function", "x**2 - y**2"], "no minimum but a saddle at (0, 0)"),
        (["--function", "x**2", "--start", "x=1,x=2"], "--start is a number, or one value for each variable, such as x=1,y=2; 'x=1,x=2' came"),
        (["--function", "x**2", "--start", "x=1,2"], "--start is a number, or one value for each variable"),
        (["--function", "x**2", "--start", "one"], "the start of x is a number such as 2, 0.5 or 1/3; 'one' came"),
        (["--function", "__import__('os')"], "'"),
        (["--function", "x**2", "--optimizer", "adam"], "an optimizer is one of gradient, momentum, averaged, nesterov; 'adam' came"),
        (["--function", "x**2 + y**2", "--start", "x=1,y=1", "--svg", "/tmp/never.svg"], "a descent is drawn in one variable; the function has x, y"),
        (["--function", "x**2", "--json", "/nowhere/d.json"], "--json /nowhere/d.json cannot be written"),
        (["--function", "x**2", "--json", "same", "--svg", "same"], "two outputs go to"),
    ],
)
def test_what_cannot_be_answered_ends_with_2(words, said):
    assert said in refused(*words)


def test_words_that_the_command_does_not_know_end_with_2():
    assert run("--steps", "x", "--function", "x**2").exit_code == 2
    assert run().exit_code == 2


def test_a_question_is_answered_without_torch():
    code = (
        "import sys; from torchstone.solve import descent; from torchstone.report.descent import to_json; "
        "to_json(descent('x**2 + 10*y**2 - x', start=[1, 2])); descent('x**2/4', start=1, steps=1).drawing(); "
        "print([name for name in ('torch', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
