"""Hooks go in and out through one context manager and leave torch as it was."""

import pytest
import torch
from torch import nn
from torch.nn.modules import module as nn_module
from torch.optim import optimizer as optim_module

import torchstone
from torchstone.core.errors import UsageError
from torchstone.core.steps import StepTaken


def state_of_torch():
    tables = {name: dict(value) for name, value in vars(nn_module).items() if name.startswith("_global_") and isinstance(value, dict)}
    tables["pre"] = dict(optim_module._global_optimizer_pre_hooks)
    tables["post"] = dict(optim_module._global_optimizer_post_hooks)
    holders = (torch.nn.functional, torch.autograd, torch.nn.init, nn.Module, torch.optim.Optimizer, nn_module)
    return tables, {holder.__name__: dict(vars(holder)) for holder in holders}


def train(steps=3):
    model = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(12, 5))
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(torch.randint(0, 10, (6, 3))), torch.randint(0, 5, (6,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def test_torch_is_as_it_was_afterwards():
    before = state_of_torch()
    with torchstone.watch():
        assert state_of_torch() != before
        train()
    assert state_of_torch() == before


def test_torch_is_as_it_was_after_an_exception():
    before = state_of_torch()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), torchstone.watch():
        train()(torch.zeros(2, 7, dtype=torch.long))
    assert state_of_torch() == before


def test_watching_leaves_random_numbers_and_weights_bit_for_bit():
    torch.manual_seed(5)
    alone, after_alone = train(9), torch.rand(4)
    torch.manual_seed(5)
    with torchstone.watch():
        watched, after_watched = train(9), torch.rand(4)
    assert torch.equal(after_alone, after_watched)
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), watched.parameters(), strict=True))


def test_nothing_of_the_users_is_kept_alive():
    import gc
    import weakref

    with torchstone.watch():
        model = train()
        gone = weakref.ref(model), weakref.ref(model[2].weight)
        del model
        gc.collect()
        assert [ref() for ref in gone] == [None, None]


def test_a_watched_block_reports_and_a_second_watch_is_refused():
    torch.manual_seed(0)
    with torchstone.watch() as run:
        train(4)
        with pytest.raises(UsageError, match="being watched already"), torchstone.watch():
            pass
    assert run.report.findings == ()
    assert run.report.tally.held > 5
    assert len(run.recording.of(StepTaken)) == 4


def test_a_function_is_checked_where_it_stands():
    def forgetful():
        torch.manual_seed(0)
        model = nn.Linear(4, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(4):
            nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(0, 3, (8,))).backward()
            optimizer.step()

    report = torchstone.check(forgetful)
    assert [finding.name for finding in report.findings] == ["gradients-accumulated-across-steps"]
    assert report.findings[0].main.site.file.endswith("test_hooks.py")
    assert "torchstone check" in report.findings[0].why_no_remedy
    assert report.exit_code == 1


def test_torchscript_gets_the_original_functions():
    with torchstone.watch():
        wrapped = torch.nn.functional.cross_entropy
        assert wrapped.__prepare_scriptable__() is wrapped.__wrapped__
    assert not hasattr(torch.nn.functional.cross_entropy, "__wrapped__")
