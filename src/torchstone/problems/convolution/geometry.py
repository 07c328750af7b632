"""B6, B7, D3, E1.1.1 and E1.1.2: shapes and parameters of convolutions and poolings, forwards and backwards."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

import torchstone
from torchstone.core.evidence import Evidence, Relation
from torchstone.core.problem import Answer, Claim, Drawing, Posted
from torchstone.core.quantity import Unit
from torchstone.problems.answering import answers, proved
from torchstone.problems.measuring import claimed, compared, found
from torchstone.report.convolution import by, runs, unread_words, value_words
from torchstone.report.convolution_drawing import draw
from torchstone.solve import Chain, ConvSolution, ConvSolutions, Layer, chain, conv

_SIZE = "convolution.output_size"
_POOL = "convolution.pooled_size"
_PARAMETERS = "convolution.parameters"
_NAMES = ("kernel", "stride", "padding", "dilation")
# Of a list of settings so many are spelled out.
_TOLD = 6


def _b6() -> Chain:
    first, last = Layer("conv", 8, 2, channels=64), Layer("conv", 4, padding=1, channels=128, bias=False)
    return chain("3x256x256", first, Layer("pool", 5), last)


def _b6_torch() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 64, 8, 2), nn.MaxPool2d(5), nn.Conv2d(64, 128, 4, padding=1, bias=False)).to("meta")


@answers("B6.1")
def last_output(posted: Posted) -> Answer:
    """How many numbers the last output has."""
    computed = _b6()
    run = _b6_torch()(torch.zeros(1, 3, 256, 256, device="meta"))[0]
    shape = tuple(run.shape)

    def against(evidence: Evidence) -> str:
        said = int(evidence.predicted.value)
        edge = f"; {said} is its height and its width" if shape[1:] == (said, said) else ""
        return f"the last output is {by(shape)} in torch, {run.numel()} numbers{edge}"

    said = posted.claims.get("dimensionality")
    held = [compared(_SIZE, float(str(said)), run.numel(), how="numbers of torch's last output")]
    shapes = " → ".join(by(row.solution.output) for row in computed.rows)
    return Answer(
        says=(f"{computed.numbers} numbers ({by(computed.output)})",),
        derivation=(f"{by(computed.input)} → {shapes}: floor((n + 2p - k)/s) + 1 along each axis, channels by the filters",),
        evidence=(
            *proved(_SIZE, _POOL),
            compared(_SIZE, computed.numbers, run.numel(), how=f"numbers of torch's last output {by(shape)}"),
        ),
        claims=() if said is None else (claimed("dimensionality", held, against),),
        remarks=(
            f"one output reaches over {by(computed.receptive_field)} inputs; {computed.unread} inputs are read by none",
            f"{computed.flops:,} FLOPs forward, a multiply-add being 2",
        ),
    )


@answers("B6.2")
def last_parameters(posted: Posted) -> Answer:
    """Parameters of the last layer, without biases."""
    spec = _b6().rows[-1].spec
    counted = _count(_b6_torch()[-1])
    return Answer(
        says=(f"{_b6().rows[-1].solution.parameters} parameters",),
        derivation=(f"c_in c_out k k = {spec.in_channels} · {spec.out_channels} · {spec.axes[0].kernel} · {spec.axes[1].kernel}",),
        evidence=(*proved(_PARAMETERS), compared(_PARAMETERS, _b6().rows[-1].solution.parameters, counted, how="torch's module")),
        claims=_number_claims(posted, {"parameters": counted}, _PARAMETERS),
    )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _number_claims(posted: Posted, measured: Mapping[str, float], law: str) -> tuple[Claim, ...]:
    """Claims that are one number each, against what torch gave."""
    return tuple(
        claimed(about, [compared(law, float(str(posted.claims[about])), number, how=f"torch's {about}")], _differs)
        for about, number in measured.items()
        if about in posted.claims
    )


def _differs(evidence: Evidence) -> str:
    return f"{evidence.how} is {found(evidence):g}, not {evidence.predicted.value:g}"


Said = Mapping[str, Any]


def _output(given: Said, shape: tuple[int, ...], channels: int, *, pool: bool) -> tuple[int, ...] | None:
    """The shape that torch gives with these settings; None where it refuses them."""
    named = {"kernel_size" if name == "kernel" else name: number for name, number in given.items()}
    settings = {"stride": 1, "padding": 0, "dilation": 1, **named}
    try:
        layer = nn.MaxPool2d(**settings) if pool else nn.Conv2d(shape[0], channels, **settings)
        return tuple(layer(torch.zeros(1, *shape)).shape[1:])
    except (RuntimeError, TypeError, ValueError):
        return None


def _setting_evidence(
    given: Said, shape: tuple[int, ...], wanted: tuple[int, ...], conditions: Mapping[str, int], *, pool: bool = False
) -> Iterator[Evidence]:
    """What is asked of a setting: each condition, and torch's output with it. Torch's refusal is no number."""
    law = _POOL if pool else _SIZE
    out = _output({**conditions, **given}, shape, wanted[0], pool=pool)
    sizes = list(zip(("channels", "height", "width"), wanted, out or (math.nan,) * 3, strict=True))
    for name, size, measured in reversed(sizes):
        yield compared(law, size, measured, how=f"torch's {name} with {_words(given)}")
    for name, value in conditions.items():
        if name in given:
            yield compared(law, value, given[name], how=f"the {name} that is asked for")
    if pool and {"kernel", "stride"} <= given.keys():
        yield compared(law, given["stride"], given["kernel"], how="windows that do not overlap", relation=Relation.AT_MOST)


def _words(given: Said) -> str:
    return ", ".join(f"{name} {given[name]}" for name in _NAMES if name in given)


def _falls_short(evidence: Evidence) -> str:
    """What a setting gives in place of what is asked."""
    if math.isnan(found(evidence)):
        return f"{evidence.how}: it refuses to run"
    if evidence.relation is Relation.AT_MOST:
        return f"the kernel {found(evidence):g} exceeds the stride {evidence.predicted.value:g}: windows overlap"
    return f"{evidence.how} is {found(evidence):g}, not the {evidence.predicted.value:g} that is asked for"


def _all_run(settings: ConvSolutions, *, pool: bool = False) -> Evidence:
    """How many of the settings that were found give the wanted shape in torch."""
    given = [dict(zip(_NAMES, (one.kernel, one.stride, one.padding, one.dilation), strict=True)) for one in settings]
    right = sum(_output(one, settings.input, settings.output[0], pool=pool) == settings.output for one in given)
    how = f"settings found, {by(settings.input)} → {by(settings.output)} in torch"
    return compared(_POOL if pool else _SIZE, settings.total, right, how=how, unit=Unit.COUNT)


def _short(one: ConvSolution, names: tuple[str, ...] = _NAMES) -> str:
    return "(" + ", ".join(value_words(getattr(one, name)) for name in names) + ")"


def _listed(settings: ConvSolutions, names: tuple[str, ...] = _NAMES) -> str:
    """The simplest settings in brackets, and how many more there are."""
    told = ", ".join(_short(one, names) for one in settings[:_TOLD])
    return told if settings.total <= _TOLD else f"{told} and {settings.total - _TOLD} more"


def _drawn(part: str, one: ConvSolution) -> Drawing:
    picture = draw(one)
    return Drawing(f"{part} {picture.title}".strip(), picture.text, picture.svg)


def _remark(about: str, given: Said, settings: ConvSolutions) -> list[str]:
    """What a posted setting that fits leaves unread, and that it is one of several."""
    same = [one for one in settings if _is(one, given)]
    if not same:
        return []
    unread = f" and leaves unread {unread_words(same[0])}" if same[0].unread else " and reads every input"
    return [f"{about} the posted {_words(given)} is one of {settings.total} that fit{unread}"]


def _inverse(posted: Posted, parts: Mapping[str, tuple[ConvSolutions, Mapping[str, int]]], names: tuple[str, ...]) -> Answer:
    """Settings asked for in several parts, each with its conditions."""
    claims, remarks, drawings = [], [], []
    for about, (settings, conditions) in parts.items():
        drawings.append(_drawn(about, settings[0]))
        if about in posted.claims:
            given: Said = posted.claims[about]  # type: ignore[assignment]
            claims.append(claimed(about, _setting_evidence(given, settings.input, settings.output, conditions), _falls_short))
            remarks += _remark(about, given, settings)
            drawings += [_drawn(f"{about} as posted,", one) for one in settings[1:] if _is(one, {**conditions, **given})]
    return Answer(
        says=tuple(f"{about} ({', '.join(names)}) = {_listed(one, names)}" for about, (one, _) in parts.items()),
        derivation=(
            "o = floor((n + 2p - d(k - 1) - 1)/s) + 1, so s (o - 1) <= n + 2p - d (k - 1) - 1 <= s o - 1",
            "for every k, d and s (up to 64) that leaves one run of p; simplest first: all is read, then small d, k, s, p",
        ),
        evidence=(*proved(_SIZE), *(_all_run(settings) for settings, _ in parts.values())),
        claims=tuple(claims),
        drawings=tuple(drawings),
        remarks=tuple(remarks),
    )


@answers("B7.1")
def first_setting(posted: Posted) -> Answer:
    """3x64x64 to 64x32x32."""
    shape, wanted = (3, 64, 64), (64, 32, 32)
    parts = {
        "(a)": (conv(shape, wanted, kernel=8, dilation=1), {"kernel": 8, "dilation": 1}),
        "(b)": (conv(shape, wanted, dilation=7, stride=2), {"dilation": 7, "stride": 2}),
    }
    return _inverse(posted, parts, _NAMES)


@answers("B7.3")
def last_setting(posted: Posted) -> Answer:
    """64x8x8 to 128x4x4, three ways."""
    shape, wanted = (64, 8, 8), (128, 4, 4)
    conditions = {"(a)": {"padding": 0, "dilation": 1}, "(b)": {"padding": 2, "dilation": 2}, "(c)": {"padding": 1, "dilation": 1}}
    parts = {name: (conv(shape, wanted, padding=one["padding"], dilation=one["dilation"]), one) for name, one in conditions.items()}
    return _inverse(posted, parts, ("kernel", "stride"))


@answers("B7.2")
def pooling(posted: Posted) -> Answer:
    """64x32x32 to 64x8x8 by windows that do not overlap; and what 8x8 windows with stride 4 give."""
    shape, wanted = (64, 32, 32), (64, 8, 8)
    choices = chain(shape, Layer("pool", output=wanted, padding=0, dilation=1)).rows[0].choices
    apart = sorted((one for one in choices if not one.overlapping), key=lambda one: one.spec.taps)
    best = [one for one in apart if one.unread == 0]
    other = chain(shape, Layer("pool", 8, 4)).output
    run = _output({"kernel": 8, "stride": 4}, shape, 64, pool=True) or ()
    about, conditions = "(a) kernel and stride", {"padding": 0, "dilation": 1}
    claims, remarks = [], []
    if about in posted.claims:
        given: Said = posted.claims[about]  # type: ignore[assignment]
        claims.append(claimed(about, _setting_evidence(given, shape, wanted, conditions, pool=True), _falls_short))
        unread = [unread_words(one) for one in apart if _is(one, given) and one.unread]
        remarks += [f"(a) the posted {_words(given)} leaves unread {words}" for words in unread]
    parts = ("(b) channels", "(b) height", "(b) width")
    shares = ", ".join(f"kernel {one.kernel} reads {one.read_of_period[0]} of {one.read_of_period[1]}" for one in apart)
    strides = runs(sorted({one.spec.axes[0].stride for one in apart}))
    return Answer(
        says=(
            f"(a) {' or '.join(_words({'kernel': one.kernel, 'stride': one.stride}) for one in best)}: reads every input",
            f"    stride {strides}, {shares}",
            f"(b) {by(other)}",
        ),
        derivation=(
            "windows do not overlap where k <= s; they read everything where k >= s (and gcd(s, d) = 1): so k = s",
            "s (o - 1) <= n - k <= s o - 1 with k <= s: 7 s <= 32 - k and 32 - k <= 8 s - 1, so s = 4 and k <= 4",
            f"(b) floor((32 - 8)/4) + 1 = {other[1]} along each axis; a pooling keeps its {other[0]} channels",
        ),
        evidence=(
            *proved(_POOL, "convolution.read_share"),
            _all_run(choices, pool=True),
            *(compared(_POOL, size, seen, how=f"torch's {name}") for name, size, seen in zip(parts, other, run, strict=True)),
        ),
        claims=(*claims, *_number_claims(posted, dict(zip(parts, run, strict=True)), _POOL)),
        drawings=tuple(_drawn("(a)", one) for one in apart if one.read_of_period[0] == 9 or one.unread == 0),  # noqa: PLR2004 - 3x3
        remarks=tuple(remarks),
    )


def _is(one: ConvSolution, given: Said) -> bool:
    return all(getattr(one, name) == value for name, value in given.items())


@answers("E1.1.1")
def small_output(posted: Posted) -> Answer:
    """21x12 by 4x5 windows with stride 4."""
    (one,) = conv((1, 21, 12), kernel=(4, 5), stride=4)
    run = tuple(nn.Conv2d(1, 1, (4, 5), 4)(torch.zeros(1, 1, 21, 12)).shape[2:])
    sizes = dict(zip(("height", "width"), one.output[1:], strict=True))
    measured = dict(zip(sizes, run, strict=True))
    return Answer(
        says=(f"{by(one.output[1:])}",),
        derivation=("floor((21 - 4)/4) + 1 and floor((12 - 5)/4) + 1",),
        evidence=(*proved(_SIZE), *(compared(_SIZE, sizes[name], measured[name], how=f"torch's {name}") for name in sizes)),
        claims=_number_claims(posted, measured, _SIZE),
        drawings=(_drawn("", one),),
        remarks=(f"unread: {unread_words(one)}",),
    )


@answers("D3a")
def ordinary_parameters(posted: Posted) -> Answer:
    """An ordinary convolution: the size of its input does not matter."""
    spec = conv((3, 224, 224), kernel=3, channels=4, bias=False)[0]
    counted = _count(nn.Conv2d(3, 4, 3, bias=False))
    return Answer(
        says=(f"{spec.parameters} parameters",),
        derivation=("c_in c_out k k = 3 · 4 · 3 · 3; the input's size does not enter",),
        evidence=(*proved(_PARAMETERS), compared(_PARAMETERS, spec.parameters, counted, how="torch's module")),
        claims=_number_claims(posted, {"parameters": counted}, _PARAMETERS),
        remarks=(f"{spec.flops:,} FLOPs forward from {by(spec.input)} to {by(spec.output)}, a multiply-add being 2",),
    )


@answers("D3b")
def separable_parameters(posted: Posted) -> Answer:
    """Depthwise, then pointwise."""
    law = "convolution.separable_parameters"
    layers = chain("3x224x224", Layer("conv", 3, groups=3, bias=False), Layer("conv", 1, channels=4, bias=False))
    whole = conv((3, 224, 224), kernel=3, channels=4, bias=False)[0]
    counted = _count(torchstone.parts.DepthwiseSeparableConv2d(3, 4, 3, bias=False))
    depthwise, pointwise = (row.solution.parameters for row in layers.rows)
    return Answer(
        says=(f"{layers.parameters} parameters",),
        derivation=(
            f"depthwise c_in k k = {depthwise}, pointwise c_in c_out = {pointwise}",
            f"1/c_out + 1/k² = {layers.parameters / whole.parameters:.4f} of the {whole.parameters} of the ordinary one",
        ),
        evidence=(
            *proved(law, "convolution.separable_share"),
            compared(law, layers.parameters, counted, how="torchstone.parts.DepthwiseSeparableConv2d"),
        ),
        claims=_number_claims(posted, {"parameters": counted}, law),
        remarks=(f"{layers.flops:,} FLOPs forward where the ordinary one has {whole.flops:,}",),
    )
