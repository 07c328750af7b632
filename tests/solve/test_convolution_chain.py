"""Chains of layers against running ones: shapes, cost, what is read; and what is said of a chain that cannot be."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from torchstone.core.errors import UsageError
from torchstone.proofs.convolution.running import answers, run_layer
from torchstone.report.convolution import chain_lines, chain_to_json
from torchstone.solve import Layer, chain
from torchstone.solve.convolution import NothingFitsError

B6 = (Layer(kernel=8, stride=2, channels=64), Layer("pool", 5), Layer(kernel=4, padding=1, channels=128))


def running():
    return nn.Sequential(nn.Conv2d(3, 64, 8, 2), nn.MaxPool2d(5), nn.Conv2d(64, 128, 4, padding=1)).to("meta")


def test_a_chain_is_the_running_one():
    found, network = chain("3x256x256", *B6), running()
    x = torch.zeros(1, 3, 256, 256, device="meta")
    for row, layer in zip(found.rows, network, strict=True):
        with FlopCounterMode(display=False) as counter:
            x = layer(x)
        assert row.solution.output == tuple(x.shape[1:])
        assert row.solution.parameters == sum(p.numel() for p in layer.parameters())
        assert row.solution.flops == counter.get_total_flops()
    assert (found.output, found.numbers) == (tuple(x.shape[1:]), x.numel())
    assert found.parameters == sum(p.numel() for p in network.parameters())
    assert found.flops == sum(row.solution.flops for row in found.rows)


def test_the_receptive_field_is_where_the_gradient_of_one_output_reaches():
    found = chain("1x64", Layer(kernel=4, stride=2, dilation=2), Layer(kernel=3, padding=1), Layer(kernel=2, stride=3))
    weights = [torch.ones(1, 1, k, dtype=torch.float64) for k in (4, 3, 2)]
    x = torch.ones(1, 1, 64, dtype=torch.float64, requires_grad=True)
    y = nn.functional.conv1d(x, weights[0], stride=2, dilation=2)
    y = nn.functional.conv1d(nn.functional.conv1d(y, weights[1], padding=1), weights[2], stride=3)
    last = found.rows[-1]
    for output in (3, 4):
        (gradient,) = torch.autograd.grad(y[0, 0, output], x, retain_graph=True)
        places = gradient[0, 0].nonzero().flatten().tolist()
        start = last.start[0] + output * int(last.jump[0])
        assert (places[0], places[-1] - places[0] + 1) == (start, last.receptive_field[0])
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert int((gradient == 0).sum()) == found.unread > 0


def test_a_layer_that_names_its_output_is_solved_and_its_simplest_setting_carried_on():
    found = chain("3x64x64", Layer(kernel=8, dilation=1, output="64x32x32"), Layer("pool", output="64x8x8"), Layer(output="128x4x4", padding=0))
    first, second, third = (row.solution for row in found.rows)
    assert (first.stride, first.padding) == (2, 3)
    assert (second.kernel, second.stride) == (4, 4)
    assert third.output == (128, 4, 4)
    assert found.rows[0].choices.total == 6
    assert [row.choices[0] for row in found.rows] == [first, second, third]


def test_a_decoder():
    found = chain("8x4x4", Layer("transposed", 4, stride=2, padding=1, channels=4), Layer("transposed", 3, 2, 1, output_padding=1, channels=2))
    network = nn.Sequential(nn.ConvTranspose2d(8, 4, 4, 2, 1), nn.ConvTranspose2d(4, 2, 3, 2, 1, output_padding=1))
    assert found.output == tuple(network(torch.zeros(1, 8, 4, 4)).shape[1:]) == (2, 16, 16)
    lines = [[row.spec.axes[0]] for row in found.rows]
    fields = [int(places[-1] - places[0]) + 1 for places in (column.nonzero() for column in answers(run_layer, (40,), lines).T)]
    assert (found.rows[-1].jump, found.rows[-1].start, found.receptive_field) == ((0.25, 0.25), None, (max(fields), max(fields)))
    assert "-" in chain_lines(found)[-1].plain


def test_ceil_mode_and_groups():
    found = chain("4x9", Layer("pool", 2, ceil_mode=True), Layer(kernel=3, groups=2, channels=6, bias=False))
    assert (found.rows[0].solution.output, found.output, found.parameters) == ((4, 5), (6, 3), 36)
    said = "\n".join(line.plain for line in chain_lines(found))
    assert "k=2 s=2 p=0 d=1 ceil" in said and "groups=2" in said


@pytest.mark.parametrize(("layers", "said"), [
    ((), "a chain has one layer or more; none came"),
    ((Layer(kernel=3), Layer("pool", 9)), r"layer 2 \(pool, from 3x6\): kernel 9 with dilation 1 covers 9, more than the padded input 6"),
    ((Layer(kernel=3), Layer()), r"layer 2 \(conv, from 3x6\): without an output"),
    ((Layer(kernel=3), Layer(kernel=1, output="3x6x6")), "differ in their number of axes"),
])  # fmt: skip
def test_a_chain_that_cannot_be_names_the_layer(layers, said):
    with pytest.raises(UsageError, match=said):
        chain("3x8", *layers)


def test_a_chain_in_which_nothing_fits_says_why():
    with pytest.raises(NothingFitsError, match=r"layer 2 \(conv, from 3x6\): nothing gives 3x9: 6 → 9: at most 4 can come out"):
        chain("3x8", Layer(kernel=3), Layer(kernel=3, padding=0, output="3x9"))


def test_a_chain_as_text_and_json():
    import json

    found = chain("3x256x256", *B6)
    lines = [line.plain for line in chain_lines(found)]
    assert lines[0] == "3x256x256 → 128x24x24: 3 layers, 73,728 numbers come out"
    assert lines[-1].split() == ["all", "128x24x24", "46", "10", "-10", "143,552", "534,994,944", "none"]
    plain = json.loads(chain_to_json(found))
    assert plain["totals"]["numbers"] == 73728
    assert [layer["kind"] for layer in plain["layers"]] == ["conv", "pool", "conv"]
    assert plain["layers"][2]["receptive_field"] == [46, 46]


def test_a_chain_is_printed_a_layer_a_line():
    assert str(chain("3x256x256", *B6)).splitlines() == [
        "3x256x256 → 128x24x24, receptive field 46x46",
        "  conv kernel 8, stride 2, padding 0 → 64x125x125",
        "  pool kernel 5, stride 5, padding 0 → 64x25x25",
        "  conv kernel 4, stride 1, padding 1 → 128x24x24",
    ]
