import pytest
import torch

from torchstone.core.errors import UsageError
from torchstone.studies.data import docstrings as data

SOURCE = '''"""Add numbers {n} together.

The numbers {n} may be whole or not, but there must be two of them.
"""
def short():
    """Too short."""
'''


@pytest.fixture
def sources(tmp_path):
    for number in range(40):
        (tmp_path / f"m{number:02}.py").write_text(SOURCE.format(n=number))
    return tmp_path


def test_bodies_and_first_lines_come_in_a_steady_order_and_once(sources):
    (sources / "twice.py").write_text(SOURCE.format(n=0))
    found = data.pairs(sources)
    assert len(found) == 40
    assert found[0].summary == "Add numbers 0 together." and found[0].body.startswith("The numbers 0 may be")
    assert found == data.pairs(sources)


def test_files_that_cannot_be_parsed_and_folders_of_others_are_left_out(sources):
    (sources / "bad.py").write_text('"""Broken.\n\nThis file is not a program at all."""\ndef (')
    (sources / "zero.py").write_bytes(b'"""\0"""')
    (sources / "site-packages").mkdir()
    (sources / "site-packages" / "other.py").write_text(SOURCE.format(n=99))
    assert len(data.pairs(sources)) == 40


def test_a_folder_without_docstrings_is_refused(tmp_path):
    with pytest.raises(UsageError, match="has no Python sources with docstrings"):
        data.pairs(tmp_path)


def test_too_few_to_hold_some_out_are_refused(tmp_path):
    (tmp_path / "one.py").write_text(SOURCE.format(n=1))
    with pytest.raises(UsageError, match="too few docstrings"):
        data.summaries(300, 8, 8, tmp_path)


def test_equal_summaries_fall_on_the_same_side(sources):
    made = [data.Pair(f"body {number}", f"summary {number % 7}") for number in range(70)]
    train, held = data.split(made)
    assert len(train) + len(held) == 70
    assert not {pair.summary for pair in train} & {pair.summary for pair in held}


def test_tokens_begin_end_and_are_padded(sources):
    found = data.summaries(300, 12, 9, sources)
    targets = found["train_targets"]
    assert found["train_sources"].shape[1] <= 12 and targets.shape[1] <= 10
    assert (targets[:, 0] == data.BEGIN).all()
    assert ((targets == data.END).sum(1) <= 1).all()
    assert int(found["tokens"]) > max(int(found[name].max()) for name in found if name != "tokens")
    assert all(torch.equal(found[name], again) for name, again in data.summaries(300, 12, 9, sources).items())
