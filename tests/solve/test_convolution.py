"""`solve.conv` against torch, both ways, and against trying everything out; order, sequence, what is given, what is refused."""

import itertools
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from torchstone.core.errors import InvariantError, UsageError
from torchstone.laws.convolution.cost import ConvSpec
from torchstone.laws.convolution.geometry import AxisSpec, LayerKind, shape_after, size_after
from torchstone.laws.convolution.reach import everything, informed_positions, read_of_period, read_positions
from torchstone.proofs.convolution.cost import module
from torchstone.solve import ConvSolutions, Layer, conv
from torchstone.solve.convolution.layer import solve_layer
from torchstone.solve.convolution.words import read_padding, read_shape, read_unknown

POOL, TRANSPOSED = LayerKind.POOL, LayerKind.TRANSPOSED
CASES = settings(max_examples=750, deadline=None)


def by_torch(solution):
    """The output of torch's module on the meta device."""
    return tuple(module(solution.spec)(torch.zeros(1, *solution.input, device="meta")).shape[1:])


@st.composite
def layers(draw, largest=8):
    """A random layer of torch.nn: constructor, settings alike on all axes, an input that fits, up to three axes."""
    axes, kind = draw(st.integers(1, 3)), draw(st.sampled_from(list(LayerKind)))
    kernel, stride, dilation = (draw(st.integers(1, largest)) for _ in range(3))
    padding = draw(st.integers(0, min(largest, kernel // 2 if kind is POOL else largest)))
    extra = draw(st.integers(0, min(largest, max(stride, dilation) - 1))) if kind is TRANSPOSED else 0
    least = dilation * (kernel - 1) + 1 - 2 * padding
    low = max(1, -(-(1 - least) // stride) + 1) if kind is TRANSPOSED else max(1, least)
    sizes = draw(st.lists(st.integers(low, low + 20), min_size=axes, max_size=axes))
    channels = (4, 4) if kind is POOL else (2, 6)
    axis = AxisSpec(kernel, stride, (padding, padding), dilation, kind, extra)
    return ConvSpec((axis,) * axes, *channels), (channels[0], *sizes)


def found_for(spec, shape, output, **known):
    return solve_layer(shape, Layer(spec.kind, output=output, **known), 8)


@CASES
@given(layers())
def test_every_layer_of_torch_is_among_the_settings_of_its_own_output(drawn):
    spec, shape = drawn
    output = tuple(module(spec)(torch.zeros(1, *shape, device="meta")).shape[1:])
    found = found_for(spec, shape, output)
    assert found.shared
    axis = spec.axes[0]
    assert (spec in found) != idle(axis)
    alike = found_for(spec, shape, output, kernel=axis.kernel, dilation=axis.dilation)
    assert axis in [one.spec.axes[0] for one in alike]
    assert alike.total <= found.total


@CASES
@given(layers(), st.integers(0, 2**16))
def test_every_setting_that_is_listed_gives_the_shape_in_torch(drawn, seed):
    spec, shape = drawn
    found = found_for(spec, shape, (spec.out_channels, *shape_after(shape[1:], spec.axes)))
    places = {0, found.total - 1, *random.Random(seed).sample(range(found.total), min(3, found.total))}
    for place in places:
        one = found[place]
        assert by_torch(one) == one.output == found.output
        assert one in found


def every_axis(kind, most, *, ceil=False):
    for k, s, d in itertools.product(range(1, most + 1), repeat=3):
        extras = range(min(max(s, d), most + 1)) if kind is TRANSPOSED else (0,)
        for p, extra in itertools.product(range(most + 1), extras):
            try:
                yield AxisSpec(k, s, (p, p), d, kind, extra, ceil)
            except InvariantError:
                continue


def idle(axis):
    """With one tap there is nothing that a dilation spreads; of a transposed convolution it still bounds output_padding."""
    return axis.kernel == 1 and axis.dilation > 1 and axis.kind is not TRANSPOSED


def rank(size, axis):
    after, crossed = size_after(size, axis), axis.kind is TRANSPOSED
    whole = informed_positions(size, [axis]) == everything(after) if crossed else read_positions(size, [axis]) == everything(size)
    read, period = read_of_period(axis)
    inside = read == period and ((size if crossed else after) - 1) * axis.stride >= axis.extent - 1
    small, modest = axis.padding[0] < axis.kernel, axis.padding[0] < axis.extent
    classes = (whole and small and axis.dilation == 1, (whole or inside) and small, whole and modest, whole, modest, True)
    return (classes.index(True), axis.dilation, axis.kernel, axis.stride, axis.padding[0])


@pytest.mark.parametrize(("kind", "ceil"), [(LayerKind.CONV, False), (POOL, False), (POOL, True), (TRANSPOSED, False)])
def test_trying_everything_out_finds_the_same_in_the_same_order(kind, ceil):
    axes = [axis for axis in every_axis(kind, 4, ceil=ceil) if not idle(axis)]
    for size in (1, 2, 3, 5, 8, 13):
        outcomes = {}
        for axis in axes:
            try:
                outcomes.setdefault(size_after(size, axis), []).append(axis)
            except InvariantError:
                continue
        for target in range(1, 30):
            found = solve_layer((2, size), Layer(kind, output=(2, target), ceil_mode=ceil), 4)
            expected = sorted(outcomes.get(target, ()), key=lambda axis: rank(size, axis))
            assert [one.spec.axes[0] for one in found] == expected
            assert len(found) == len(expected)


@pytest.mark.parametrize("size", [37, 64, 101])
def test_the_order_of_long_axes_is_that_of_short_ones(size):
    """Long inputs are looked at without their repeating middle."""
    found = list(conv((1, size), (1, (size + 1) // 2), maximum=9))
    assert found == sorted(found, key=lambda one: rank(size, one.spec.axes[0]))


def test_axes_of_different_sizes_share_a_setting_where_there_is_one():
    found = conv((3, 64, 32), (8, 32, 16))
    assert found.shared
    assert {(one.spec.axes[0], one.output) for one in found} == {(one.spec.axes[1], (8, 32, 16)) for one in found}
    both = [{one.spec.axes[0] for one in conv((3, n), (8, n // 2))} for n in (64, 32)]
    assert {one.spec.axes[0] for one in found} == both[0] & both[1]


def test_each_axis_has_its_own_setting_only_where_no_setting_serves_all():
    found = conv((3, 12, 9), (8, 6, 3), kernel="1..3", padding=0, dilation=1)
    alone = [list(conv((3, n), (8, o), kernel="1..3", padding=0, dilation=1)) for n, o in ((12, 6), (9, 3))]
    assert not found.shared
    assert {one.spec.axes for one in found} == {(a.spec.axes[0], b.spec.axes[0]) for a in alone[0] for b in alone[1]}
    assert len(found) == len(list(found)) == len(alone[0]) * len(alone[1])
    worst = [max(rank(size, axis)[0] for size, axis in zip(one.input[1:], one.spec.axes, strict=True)) for one in found]
    assert worst == sorted(worst)
    assert all(one in found for one in found)


def test_a_setting_can_be_given_for_each_axis_and_the_rest_is_shared():
    found = conv((1, 21, 12), (1, 5, 2), kernel=(4, 5), maximum=6)
    expected = set()
    for s, d, p in itertools.product(range(1, 7), range(1, 7), range(7)):
        axes = (AxisSpec(4, s, (p, p), d), AxisSpec(5, s, (p, p), d))
        try:
            expected |= {axes} if shape_after((21, 12), axes) == (5, 2) else set()
        except InvariantError:
            continue
    assert {one.spec.axes for one in found} == expected
    assert (found[0].kernel, found[0].stride, found[0].padding, found[0].dilation) == ((4, 5), 4, 0, 1)


def test_ranges_for_each_axis():
    found = conv((1, 9, 8), (1, 9, 8), kernel="1..3x3..5", stride=1, dilation=1, padding="0..2x1")
    assert {(one.kernel, one.padding) for one in found} == {((1, 3), (0, 1)), (3, 1)}


@pytest.mark.parametrize("transposed", [False, True])
def test_padding_that_differs_on_the_sides_is_used_where_it_is_given(transposed):
    found = conv((1, 10), (1, 14 if transposed else 5), padding="1,2", maximum=5, transposed=transposed)
    kind = TRANSPOSED if transposed else LayerKind.CONV
    expected = set()
    for k, s, d in itertools.product(range(1, 6), repeat=3):
        for extra in range(max(s, d) if transposed else 1):
            axis = AxisSpec(k, s, (1, 2), d, kind, extra)
            try:
                expected |= {axis} if size_after(10, axis) == found.output[1] and not idle(axis) else set()
            except InvariantError:
                continue
    assert {one.spec.axes[0] for one in found} == expected
    assert all(one.padding == ((1, 2),) for one in found)


def test_a_padding_for_each_side_of_each_axis():
    (one,) = conv((1, 6, 7), kernel=2, padding=((0, 1), (2, 3)))
    assert (one.output, one.padding) == ((1, 6, 11), ((0, 1), (2, 3)))
    assert conv((1, 6, 7), kernel=2, padding="0,1x2,3")[0] == one
    assert conv((1, 6, 7), kernel=2, padding="1,1")[0].padding == 1


def test_the_documents_question():
    found = conv("3x64x64", "64x32x32", kernel=8, dilation=1)
    assert [(one.stride, one.padding) for one in found] == [(2, 3), (3, 19), (4, 34), (4, 35), (5, 50), (5, 51)]
    first = conv("3x64x64", "64x32x32", dilation=7, stride=2)[0]
    assert (first.kernel, first.padding, first.unread) == (3, 7, 0)
    assert all(by_torch(one) == (64, 32, 32) for one in conv("3x64x64", "64x32x32")[:300])


def test_what_a_setting_leaves_unread():
    (one,) = conv((64, 32, 32), kernel=3, stride=4)
    assert (one.unread, one.read_of_period) == (448, (9, 16))
    assert one.unread_positions == (tuple(range(3, 32, 4)),) * 2
    x = torch.ones(1, 64, 32, 32, requires_grad=True)
    nn.Conv2d(64, 1, 3, 4)(x).sum().backward()
    assert int((x.grad[0, 0] == 0).sum()) == one.unread
    (up,) = conv((1, 4), kernel=1, stride=2, output_padding=1, transposed=True)
    assert (up.uninformed_positions, up.uninformed, up.output) == (((1, 3, 5, 7),), 4, (1, 8))
    assert not one.overlapping and conv((64, 32, 32), kernel=5, stride=4)[0].overlapping


def test_a_solution_knows_its_cost():
    (one,) = conv((4, 9, 9), kernel=3, channels=6, groups=2, bias=False)
    assert one.parameters == sum(p.numel() for p in nn.Conv2d(4, 6, 3, groups=2, bias=False).parameters())
    assert one.flops == 2 * 6 * 7 * 7 * 2 * 9


def test_solutions_are_a_sequence():
    found = conv((3, 8), (3, 4), maximum=9)
    assert isinstance(found, ConvSolutions)
    whole = list(found)
    assert [found[i] for i in range(len(found))] == whole == found[:]
    assert found[-1] == whole[-1] and found[2:5] == whole[2:5]
    assert list(reversed(found)) == whole[::-1]
    assert found.index(whole[3]) == 3
    with pytest.raises(IndexError, match=f"there are {len(found)} solutions; number {len(found)} was asked for"):
        found[len(found)]
    assert "settings of a conv from (3, 8) to (3, 4)" in repr(found)
    assert whole[0] not in conv((3, 9), (3, 4))
    assert 5 not in found


def test_more_solutions_than_a_length_can_be():
    found = conv((1, 64, 63, 62), (1, 1, 2, 1), maximum=104)
    assert found.total > 2**63
    assert by_torch(found[0]) == (1, 1, 2, 1)


def test_an_output_that_is_not_given_is_calculated():
    assert conv("3x256x256", kernel=8, stride=2, channels=64)[0].output == (64, 125, 125)
    assert conv((3, 9), kernel=3).output == (3, 7)
    assert conv((3, 9), kernel=300, padding=200)[0].output == (3, 110)
    assert conv((2, 5), kernel=4, stride=3, transposed=True, output_padding=2)[0].output == (2, 18)


WHY = [
    (((3, 64, 64), (3, 33, 33)), {"kernel": 8, "stride": 1, "dilation": 1}, "at least 57 come out", "stride 2 (kernel 8, stride 2"),
    (((3, 64), (3, 300)), {}, "at most 192 can come out", "nearest sizes: 192 (kernel 1, stride 1, padding 64)"),
    (((3, 10), (3, 10)), {"kernel": 4, "stride": 1, "dilation": 1}, "padding on both sides moves the size by two", "kernel 3 ("),
]


@pytest.mark.parametrize(("shapes", "known", "reason", "near"), WHY)
def test_where_nothing_fits_it_says_why_and_what_comes_nearest(shapes, known, reason, near):
    found = conv(*shapes, **known)
    assert len(found) == 0 and list(found) == [] and found[:3] == []
    said = " ".join(found.why)
    assert reason in said
    assert near in said


@given(st.integers(1, 30), st.integers(1, 60), st.integers(1, 9), st.integers(1, 4), st.booleans())
@settings(max_examples=150, deadline=None)
def test_the_nearest_size_is_the_nearest_and_nothing_is_said_where_something_fits(size, target, kernel, stride, transposed):
    known = {"kernel": kernel, "stride": stride, "padding": "0..2", "dilation": 1, "output_padding": 0 if transposed else None}
    try:
        found = conv((1, size), (1, target), transposed=transposed, **known)
    except UsageError:
        return
    reached = {o for o in range(1, 400) if conv((1, size), (1, o), transposed=transposed, **known).total}
    assert bool(found.total) == (target in reached)
    if found.total:
        assert found.why == ()
        return
    said = " ".join(found.why)
    below, above = [o for o in reached if o < target], [o for o in reached if o > target]
    assert f"nearest sizes: {max(below) if below else min(above)} (" in said
    if below and above:
        assert f"), {min(above)} (" in said


BAD = [
    (("3x0x64",), {"kernel": 1}, "the input has 1 or more of everything; '3x0x64' came"),
    (((3, -4),), {"kernel": 1}, r"the input has 1 or more of everything; \(3, -4\) came"),
    (("abc",), {"kernel": 1}, "the input is a shape of whole numbers; 'abc' came"),
    (((3, 4.5),), {"kernel": 1}, r"the input is a shape of whole numbers; \(3, 4.5\) came"),
    (((3, True),), {"kernel": 1}, "the input is a shape of whole numbers"),
    (("64",), {"kernel": 1}, "has channels and 1 to 3 sizes; '64' has 1 number"),
    (("1x2x3x4x5",), {"kernel": 1}, "has 5 numbers"),
    (("3x64x64", "3x64"), {}, "input 3x64x64 and output 3x64 differ in their number of axes"),
    (("3x8",), {}, "without an output there is nothing to look for"),
    (("3x8",), {"kernel": "1..3"}, "kernel is a range, and there is no output to choose it by"),
    (("3x8",), {"kernel": 3, "padding": "0..1"}, "padding is a range"),
    (("3x8",), {"kernel": 9}, r"kernel 9 with dilation 1 covers 9, more than the padded input 8 \+ 0; a kernel of at most 8 fits, or a padding of 1"),
    (("3x8", "3x4"), {"kernel": 5, "dilation": 3, "padding": 2}, "covers 13, more than the padded input 8"),
    (("3x8",), {"kernel": 3, "stride": 0}, "stride must be 1 or more; 0 came"),
    (("3x8",), {"kernel": 3, "padding": -1}, "padding must be 0 or more; -1 came"),
    (("3x8",), {"kernel": "three"}, "kernel must be a whole number, a range as in 1..7, or one for each axis as in 8x5; 'three' came"),
    (("3x8",), {"kernel": 2.0}, "kernel must be a whole number.*; 2.0 came"),
    (("3x8", "3x4"), {"kernel": "7..3"}, "kernel must be a range that rises by 1, as in 1..7; '7..3' came"),
    (("3x8", "3x4"), {"kernel": range(1, 9, 2)}, "a range that rises by 1"),
    (("3x8x8",), {"kernel": "3x3x3"}, "kernel has 3 values and the input 2 sizes after its channels"),
    (("3x8",), {"kernel": ()}, "kernel must be one for all axes or one for each of the 1"),
    (("3x8",), {"kernel": 3, "padding": "1,2,3"}, "padding must be a number, or before and after, as in 1,2; '1,2,3' came"),
    (("3x8", "3x4"), {"padding": "0..1,2"}, "numbers, not ranges, where before and after differ"),
    (("3x8",), {"kernel": 3, "groups": 2}, "groups must divide the 3 channels in and the 3 out; 2 came"),
    (("4x8", "6x8"), {"groups": 4}, "groups must divide the 4 channels in and the 6 out"),
    (("4x8",), {"kernel": 1, "groups": 0}, "groups must be a whole number of 1 or more; 0 came"),
    (("4x8",), {"kernel": 1, "channels": True}, "channels must be a whole number"),
    (("4x8", "6x8"), {"channels": 5}, "channels 5 contradict the output 6x8"),
    (("4x8",), {"kernel": 1, "output_padding": 0}, "only a transposed convolution has output_padding; this is a conv"),
    (("4x8",), {"kernel": 1, "transposed": True, "output_padding": 1}, "an output_padding is smaller than the stride or the dilation; 1 came"),
    (("4x1",), {"kernel": 1, "transposed": True, "padding": 1}, "crops all of the 1 outputs"),
    (("4x8", "4x4"), {"maximum": 0}, "the limit of the search is a whole number from 1 to 256; 0 came"),
    (("4x8", "4x4"), {"maximum": "many"}, "the limit of the search"),
    (("4x8", "4x4"), {"maximum": 10**9}, "from 1 to 256"),
    (("3x1000000000000",), {"kernel": 1}, "the input has at most 10,000,000 of anything"),
    (("3x8",), {"kernel": 3, "padding": 10**12}, "padding must be at most 10,000,000"),
    (("3x8000",), {"kernel": 3, "stride": 10**6, "transposed": True}, "7,999,000,003 come out along an axis"),
    ((None,), {"kernel": 1}, "the input is a shape of whole numbers; None came; write channels"),
    ((5,), {"kernel": 1}, "the input is a shape of whole numbers; 5 came"),
    (("3x" + "9" * 5000,), {"kernel": 1}, "the input is a shape of whole numbers"),
]


@pytest.mark.parametrize(("shapes", "known", "said"), BAD)
def test_what_cannot_be_is_refused_with_its_repair(shapes, known, said):
    with pytest.raises(UsageError, match=said) as caught:
        conv(*shapes, **known)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("layer", "said"), [
    (Layer("pol", 3), "a layer is conv, pool, transposed; 'pol' came"),
    (Layer("pool", 3, channels=5), "a pooling keeps its 4 channels; 5 were asked for"),
    (Layer("pool", output="5x4"), "a pooling keeps its 4 channels; 5 were asked for"),
    (Layer("pool", 2, padding=2), "torch pads a pooling by at most half of its kernel 2"),
    (Layer("conv", 2, ceil_mode=True), "only a pooling has ceil_mode"),
])  # fmt: skip
def test_a_layer_that_cannot_be_is_refused(layer, said):
    with pytest.raises(UsageError, match=said):
        solve_layer((4, 8), layer)


def test_what_is_written_is_what_is_meant():
    assert read_shape("3×64X64") == read_shape([3, 64, 64]) == (3, 64, 64)
    assert read_unknown("stride", "2x2", 2, range(1, 9)) == read_unknown("stride", 2, 2, range(1, 9))
    assert not read_unknown("stride", "1..2x1..2", 2, range(1, 9)).tied
    assert read_unknown("stride", "1..2", 2, range(1, 9)).tied
    assert read_padding((1, 2), 2, range(9)).sides == (range(1, 2), range(2, 3))
    assert read_padding(((1, 2),), 2, range(9)).sides == ((1, 2), (1, 2))


def test_a_pooling_is_asked_backwards_with_torchs_limit_on_its_padding():
    found = solve_layer("64x32x32", Layer("pool", output="64x8x8"), 16)
    assert (found[0].kernel, found[0].stride, found[0].padding) == (4, 4, 0)
    assert all(by_torch(one) == (64, 8, 8) for one in found)


@pytest.mark.parametrize(("known", "listed"), [
    ({}, [1]), ({"dilation": 5}, [5]), ({"dilation": "2..4"}, [2]), ({"dilation": "2..4x3..4"}, [(2, 3)]),
    ({"kernel": "1x2", "stride": "3x3", "dilation": "1..2"}, [1, 2]), ({"kernel": "1x2", "dilation": "1..2x1..2"}, [1, (1, 2)]),
])  # fmt: skip
def test_with_one_tap_only_the_least_dilation_is_listed(known, listed):
    found = conv("1x10x12", "4x4x4", **({"kernel": 1, "stride": 3, "padding": 0} | known))
    assert [one.dilation for one in found] == listed
    assert len(found) == len(listed)
    assert all(one in found for one in found)


def test_small_dilations_and_paddings_come_first():
    one = conv("3x64x64", "10x30x30", kernel=3)[0]
    assert (one.kernel, one.stride, one.padding, one.dilation) == (3, 2, 1, 3)
    assert one.unread_positions == ((0, 62),) * 2
    few = conv("3x64x64", "64x32x32")[:2]
    assert [(one.kernel, one.stride, one.padding, one.dilation) for one in few] == [(2, 2, 0, 1), (3, 2, 1, 1)]
    one = conv("3x64x64", "64x31x31", kernel=3)[0]
    assert (one.stride, one.padding, one.dilation) == (2, 0, 1)


def test_solutions_are_printed_as_a_few_lines():
    lines = str(conv("3x64x64", "64x32x32", kernel=8, dilation=1)).splitlines()
    assert lines[:2] == ["3x64x64 → 64x32x32: 6 conv settings, simplest first", "  kernel 8, stride 2, padding 3"]
    assert (lines[-1], len(lines)) == ("  … 1 more", 7)
    empty = conv((3, 10), (3, 10), kernel=4, stride=1, dilation=1)
    assert str(empty).splitlines() == ["3x10 → 3x10: no conv fits", *(f"  {line}" for line in empty.why)]
    assert str(conv((1, 21, 12), kernel=(4, 5), stride=4)).endswith("  kernel 4, stride 4, padding 0 | kernel 5, stride 4, padding 0")
