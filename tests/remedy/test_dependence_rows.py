"""Rows of a loss: whose they are, what they read, how targets follow tokens, what is padding."""

import pytest
import torch

from torchstone.remedy.probes.rows import lost_in_rounding, others_read, owners, rows_of, shift_of
from torchstone.remedy.probes.taps import Declared, padding_declared, padding_of

TOKENS = torch.randint(0, 50, (4, 9), generator=torch.Generator().manual_seed(0))


def rows(target, *, shape=None, function="cross_entropy", **options):
    logits = torch.randn(*(shape or (target.numel(), 50)), requires_grad=True)
    return rows_of(function, logits, target, options)


def test_a_row_can_belong_to_a_sample_in_several_ways():
    assert dict(owners((12,), (7,), 12)) == {"a row each": range(7, 8)}
    assert dict(owners((12,), (7,), 4)) == {"sample after sample": range(2, 3), "in turn": range(3, 4)}
    assert dict(owners((3,), (1,), 12)) == {"in groups": range(4, 8)}
    assert dict(owners((5, 4), (2, 3), 4)) == {"along the second axis": range(3, 4)}
    assert dict(owners((5,), (2,), 3)) == {}


def read_of(cells):
    seen = torch.zeros(4, 6, dtype=torch.bool)
    for cell in cells:
        seen[cell] = True
    return seen


def test_the_way_that_fits_best_is_the_one_that_counts():
    in_turn = {(row,): read_of([(row % 4, 0), (row % 4, 5)]) for row in (1, 6, 11)}
    assert others_read((12,), in_turn, 0) == 0
    mixed = {(row,): read_of([(0, 0), (1, 0), (row % 4, 0)]) for row in (1, 6, 11)}
    assert others_read((12,), mixed, 0) > 0
    assert others_read((5,), in_turn, 0) is None


@pytest.mark.parametrize("layout", ["flat", "two axes", "positions first"])
def test_next_tokens_are_seen_in_every_layout(layout):
    inputs, targets = TOKENS[:, :-1], TOKENS[:, 1:]
    if layout == "positions first":
        found = shift_of(rows(targets.T.reshape(-1)), inputs.T)
    elif layout == "two axes":
        found = shift_of(rows(targets, shape=(4, 50, 8)), inputs)
    else:
        found = shift_of(rows(targets.reshape(-1)), inputs)
    assert (found.sample_axis, found.ahead, found.rolled) == (int(layout == "positions first"), 1, False)
    assert all(position < 7 for _, position in found.places.values())


def test_the_slice_behind_the_prediction_tells_which_position_predicts():
    def cut(part):
        logits = torch.randn(4, 9, 50, requires_grad=True)[:, part]
        return rows_of("cross_entropy", logits.reshape(-1, 50), TOKENS[:, 1:].reshape(-1), {})

    assert shift_of(cut(slice(None, -1)), TOKENS).ahead == 1
    assert shift_of(cut(slice(1, None)), TOKENS) is None


@pytest.mark.parametrize("targets", [TOKENS, TOKENS.flip(1), torch.zeros_like(TOKENS), TOKENS.roll(1, 1)])
def test_other_targets_are_no_next_tokens(targets):
    assert shift_of(rows(targets.reshape(-1)), TOKENS) is None


def test_tokens_that_are_rolled_are_a_task():
    assert shift_of(rows(TOKENS.roll(-1, 1).reshape(-1)), TOKENS).rolled


def test_ignored_targets_do_not_count():
    targets = TOKENS[:, 1:].clone()
    targets[:, :5] = -100
    found = rows(targets.reshape(-1))
    assert int(found.counted.sum()) == 12
    assert all(found.counted[row] for row in found.spread(4))
    assert all(position >= 5 for _, position in shift_of(found, TOKENS[:, :-1]).places.values())


@pytest.mark.parametrize(("function", "shape", "expected"), [
    ("mse_loss", (6, 1), (6,)), ("mse_loss", (6, 3), (6, 3)), ("binary_cross_entropy", (6,), (6,)), ("mse_loss", (1, 1), None), ("mse_loss", (), None),
])
def test_rows_of_losses_without_classes(function, shape, expected):
    found = rows_of(function, torch.randn(shape, requires_grad=True), torch.zeros(shape), {})
    assert (found.shape if found is not None else None) == expected


def test_a_seed_lies_on_its_own_row_alone():
    found = rows(TOKENS, shape=(4, 50, 9))
    seed = found.seed((2, 3))
    assert int((seed != 0).sum()) == 50
    assert bool((seed[2, :, 3] != 0).all())


@pytest.mark.parametrize(("runs", "inner"), [
    ([[0, 0, 1, 1, 1], [0, 0, 0, 0, 0]], [[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]),
    ([[1, 1, 0, 0, 0], [1, 0, 0, 0, 0]], [[1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]),
    ([[0, 1, 0, 1, 1], [0, 0, 0, 0, 0]], None),
    ([[0, 0, 0, 0, 1], [0, 0, 0, 0, 0]], None),
    ([[1, 1, 1, 1, 1], [1, 1, 1, 1, 1]], None),
])
def test_padding_is_a_run_at_one_end(runs, inner):
    cells = torch.tensor(runs, dtype=torch.bool)
    found = padding_of(torch.where(cells, 0, 7), cells, "padding_idx=0")
    assert (None if found is None else found.inner.long().tolist()) == inner


def test_padding_of_several_tokens_is_none():
    cells = torch.tensor([[0, 0, 1, 1]]).bool()
    assert padding_of(torch.tensor([[5, 5, 1, 2]]), cells, "mask") is None


@pytest.mark.parametrize(("name", "value"), [
    ("attention_mask", torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])), ("padding_mask", torch.tensor([[0, 0, 1, 1], [0, 0, 0, 0]]).bool()),
    ("lengths", torch.tensor([2, 4])), ("key_padding_mask", torch.zeros(2, 4).masked_fill(torch.tensor([[0, 0, 1, 1], [0, 0, 0, 0]]).bool(), -torch.inf)),
])
def test_masks_and_lengths_say_what_is_padding(name, value):
    tokens = torch.tensor([[5, 6, 9, 9], [5, 6, 7, 8]])
    found = padding_declared(Declared(name, value), tokens, (2, 4), lambda _: True)
    assert (found.token, found.declared) == (9, name)
    assert found.cells.long().tolist() == [[0, 0, 1, 1], [0, 0, 0, 0]]


def test_what_coarse_arithmetic_leaves_is_not_told_from_nothing():
    assert lost_in_rounding(torch.zeros(1, dtype=torch.bfloat16), 0.01) != ""
    assert lost_in_rounding(torch.zeros(1), 0.01) == ""
