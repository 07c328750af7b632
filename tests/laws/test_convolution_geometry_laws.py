"""The laws of convolution's geometry at their edges: bad arguments, one element, windows in the padding, large sizes."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from laws.holding import breaks, holds
from torchstone.core.errors import InvariantError
from torchstone.laws.convolution.cost import ConvSpec, flops, parameters, separable_parameters, separable_share
from torchstone.laws.convolution.geometry import (
    AxisSpec,
    LayerKind,
    output_size,
    pooled_size,
    shape_after,
    size_after,
    transposed_size,
)
from torchstone.laws.convolution.reach import (
    informed_positions,
    jump,
    read_of_period,
    read_positions,
    receptive_field,
    receptive_start,
    uninformed_outputs,
    unread_inputs,
)
from torchstone.proofs.convolution.running import answers, run_layer

POOL, TRANSPOSED = LayerKind.POOL, LayerKind.TRANSPOSED
KINDS = st.sampled_from(list(LayerKind))


@st.composite
def axis_specs(draw, kinds=KINDS, largest=6):
    kind, small = draw(kinds), st.integers(1, largest)
    kernel, stride, dilation = draw(small), draw(small), draw(st.integers(1, 4))
    before, after = draw(st.integers(0, 6)), draw(st.integers(0, 6))
    if kind is POOL:
        before = after = min(before, kernel // 2)
    extra = draw(st.integers(0, max(stride, dilation) - 1)) if kind is TRANSPOSED else 0
    return AxisSpec(kernel, stride, (before, after), dilation, kind, extra, kind is POOL and draw(st.booleans()))


@settings(max_examples=400, deadline=None)
@given(st.lists(axis_specs(), min_size=1, max_size=3), st.data())
def test_sizes_are_torchs_for_any_layer(axes, data):
    axes = [axis for axis in axes if (axis.kind, axis.ceil_mode) == (axes[0].kind, axes[0].ceil_mode)]
    sizes = data.draw(st.lists(st.integers(1, 30), min_size=len(axes), max_size=len(axes)))
    try:
        predicted = shape_after(sizes, axes)
    except InvariantError:
        predicted = None
    assert predicted == shape_in_torch(sizes, axes)


def shape_in_torch(sizes, axes):
    """None where torch refuses, or where a crop leaves nothing."""
    try:
        out = run_layer(torch.zeros(1, 1, *sizes), axes)
    except RuntimeError:
        return None
    return tuple(out.shape[2:]) if out.numel() else None


@settings(max_examples=200, deadline=None)
@given(st.lists(axis_specs(largest=4), min_size=1, max_size=3), st.integers(1, 24))
def test_what_is_read_and_what_reads_is_what_torch_answers_to(chain, size):
    try:
        read, informed = read_positions(size, chain), informed_positions(size, chain)
    except InvariantError:
        assume(False)
    answered = answers(run_layer, (size,), [[axis] for axis in chain])
    assert [bool(read >> place & 1) for place in range(size)] == answered.any(1).tolist()
    assert [bool(informed >> place & 1) for place in range(answered.shape[1])] == answered.any(0).tolist()


@settings(max_examples=200)
@given(axis_specs(st.just(LayerKind.CONV)), st.integers(1, 40))
def test_a_transposed_convolution_reads_what_the_convolution_writes(axis, size):
    """The adjoint: outputs of one are inputs of the other."""
    assume(size + sum(axis.padding) >= axis.extent)
    windows = output_size(size, axis)
    extra = (size + sum(axis.padding) - axis.extent) % axis.stride
    back = AxisSpec(axis.kernel, axis.stride, axis.padding, axis.dilation, TRANSPOSED, extra)
    assert transposed_size(windows, back) == size
    assert informed_positions(windows, [back]) == read_positions(size, [axis])
    assert read_positions(windows, [back]) == informed_positions(size, [axis])


BAD_AXES = [
    ({"kernel": 0}, "a kernel is a whole number of 1 or more; 0 came"),
    ({"kernel": 3, "stride": 0}, "a stride is a whole number of 1 or more; 0 came"),
    ({"kernel": 3, "dilation": -1}, "a dilation is"),
    ({"kernel": 3, "padding": (0, -1)}, "a padding is two numbers of 0 or more"),
    ({"kernel": 3, "padding": (1, 1, 1)}, "a padding is two numbers of 0 or more"),
    ({"kernel": 3, "padding": (2, 2), "kind": POOL}, "torch pads a pooling by at most half of its kernel 3"),
    ({"kernel": 3, "ceil_mode": True}, "only a pooling has ceil_mode; a conv came"),
    ({"kernel": 3, "output_padding": 1}, "an output_padding belongs to a transposed convolution; 1 came"),
    ({"kernel": 3, "stride": 2, "dilation": 3, "kind": TRANSPOSED, "output_padding": 3}, "is smaller than the stride or the dilation"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD_AXES)
def test_an_axis_that_cannot_be_is_refused(arguments, said):
    with pytest.raises(InvariantError, match=said):
        AxisSpec(**arguments)


@pytest.mark.parametrize(("call", "said"), [
    (lambda: output_size(4, AxisSpec(7, padding=(1, 1))), r"covers 7, more than the padded input 4 \+ 1 \+ 1 = 6"),
    (lambda: output_size(0, AxisSpec(1, padding=(1, 1))), "1 element or more; 0 came"),
    (lambda: output_size(8, AxisSpec(3, kind=TRANSPOSED)), "speaks of conv and pool; a transposed came"),
    (lambda: pooled_size(8, AxisSpec(3)), "speaks of pool; a conv came"),
    (lambda: transposed_size(8, AxisSpec(3)), "a conv of 8 came"),
    (lambda: transposed_size(1, AxisSpec(3, padding=(2, 1), kind=TRANSPOSED)), r"padding \(2, 1\) crops all of the 3 outputs"),
    (lambda: shape_after((8, 8), [AxisSpec(3)]), "zip"),
    (lambda: receptive_start([AxisSpec(3, kind=TRANSPOSED)]), "without transposed layers"),
    (lambda: ConvSpec((), 1, 1), "one axis or more"),
    (lambda: ConvSpec((AxisSpec(1), AxisSpec(1, kind=POOL)), 1, 1), "all of one kind"),
    (lambda: ConvSpec((AxisSpec(1),), 0, 1), "channels and groups are 1 or more"),
    (lambda: ConvSpec((AxisSpec(1),), 4, 6, groups=4), "groups divide the channels"),
    (lambda: ConvSpec((AxisSpec(1, kind=POOL),), 4, 6), "a pooling keeps its channels"),
    (lambda: flops(ConvSpec((AxisSpec(1),), 4, 6), (8,), -1), "a batch has 0 rows or more"),
    (lambda: separable_parameters(0, 4, (3, 3)), "1 or more"),
    (lambda: separable_share(4, ()), "1 or more"),
])  # fmt: skip
def test_what_a_law_cannot_speak_of_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_the_edges_of_a_size():
    assert output_size(1, AxisSpec(1)) == 1
    assert output_size(1, AxisSpec(9, 5, (4, 4))) == 1
    assert output_size(10**9, AxisSpec(3, 2, (1, 1))) == 5 * 10**8
    assert size_after(1, AxisSpec(1, 7, kind=TRANSPOSED)) == 1
    assert flops(ConvSpec((AxisSpec(3),), 4, 6), (8,), batch=0) == 0


def test_an_empty_chain_reads_what_it_is_given():
    assert (receptive_field([]), jump([]), receptive_start([])) == (1, 1.0, 0)
    assert unread_inputs((3, 4), [[], []]) == 0


def test_gaps_between_windows_and_beyond_the_last():
    assert unread_inputs((32, 32), [[AxisSpec(3, 4)]] * 2) == 32 * 32 - 24 * 24
    assert unread_inputs((10,), [[AxisSpec(5, 4)]]) == 1
    assert unread_inputs((64,), [[AxisSpec(2, 2, (3, 3), 7)]]) == 4
    assert unread_inputs((64,), [[AxisSpec(3, 2, (7, 7), 7)]]) == 0
    assert read_of_period(AxisSpec(3, 4, dilation=2)) == (2, 4)
    assert uninformed_outputs((64,), [[AxisSpec(8, 3, (19, 19))]]) == 8


def test_a_dead_position_of_a_later_layer_is_dead_in_the_input():
    first, second = AxisSpec(3, 1, (1, 1)), AxisSpec(1, 4)
    assert unread_inputs((16,), [[first]]) == 0
    assert unread_inputs((16,), [[first, second]]) == 5


def test_a_long_axis_is_quick():
    chain = [AxisSpec(9, 4, (4, 4)), AxisSpec(2, 3, kind=POOL), AxisSpec(4, 3, (1, 1), kind=TRANSPOSED)]
    assert unread_inputs((200_000,), [chain]) == 0
    assert unread_inputs((200_001,), [[AxisSpec(3, 4), *chain]]) == 50_001
    assert receptive_field([AxisSpec(4, 2, (1, 1), kind=TRANSPOSED)] * 5) == 3


def test_a_law_breaks_where_a_layer_is_another():
    module = nn.Conv2d(4, 6, 3, groups=2, bias=False)
    count = sum(p.numel() for p in module.parameters())
    spec = ConvSpec((AxisSpec(3), AxisSpec(3)), 4, 6, 2, bias=False)
    holds("convolution.parameters", {"spec": spec}, count)
    breaks("convolution.parameters", {"spec": ConvSpec(spec.axes, 4, 6, bias=False)}, count)
    assert parameters(ConvSpec((AxisSpec(3, kind=POOL),), 4, 4)) == 0
