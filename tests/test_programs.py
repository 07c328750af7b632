"""Sound programs in many styles: watched, they do bit for bit what they do alone, and nothing is said against them."""

from pathlib import Path

import pytest

from conftest import run_bare, run_check

PROGRAMS = sorted((Path(__file__).parent / "programs").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_sound_program_is_undisturbed_and_draws_no_finding(program, tmp_path):
    alone = run_bare(program, cwd=tmp_path)
    watched = run_check(program, cwd=tmp_path)
    assert alone.code == 0, alone.err
    assert watched.out.startswith(alone.out), "the watched script printed something else"
    assert watched.err == alone.err
    assert watched.report["faults"] == []
    assert watched.findings == [], watched.out
    assert watched.code == 0
    assert list(tmp_path.iterdir()) == []


def test_the_programs_print_enough_to_be_compared(tmp_path):
    texts = [program.read_text() for program in PROGRAMS]
    assert len(texts) >= 25
    assert all(".hex()" in text for text in texts)
