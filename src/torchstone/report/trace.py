"""Traces for people, as JSON, and as a LaTeX document with aligned columns."""

import json
import math
import re
import unicodedata
from collections.abc import Sequence
from itertools import zip_longest

from rich.console import Console
from rich.text import Text

from torchstone.report.latex import document, escape
from torchstone.traces.layout import Block, lines, remarked, shortened
from torchstone.traces.layout import blocks as all_blocks
from torchstone.traces.notation import plain, signs
from torchstone.traces.table import Comparison, Trace

_STYLES = {
    "title": "bold", "row": "", "result": "bold green", "remark": "yellow", "born": "yellow", "held": "green", "failed": "bold red",
}  # fmt: skip
_TOKEN = re.compile(
    r"(bar_|d)?v_(-?\d+)|bar_y|\*\*\((.*?)\)"
    r"|\*\*(v_-?\d+|\d+(?:\.\d+)?(?:e[-+]?\d+)?)|[A-Za-z]\w*|\*|>=|<=|\d+(?:\.\d+)?e[-+]?\d+|.", re.DOTALL
)
_SAID = {"remark", "born", "held", "failed"}
_END = r" \\"
_BETWEEN = r"@{\qquad}|@{\qquad}"
_FUNCTIONS = {"exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "max", "min"}


def print_trace(trace: Trace, console: Console, precision: int = 5) -> None:
    """The tables, what they come to, and how they fared; in ASCII where the terminal has no other signs."""
    known = console.encoding.lower().startswith("utf")
    for line in lines(trace, signs if known else plain, precision):
        console.print(Text(line.text, style=_STYLES[line.role]), soft_wrap=True, highlight=False)


def to_json(trace: Trace) -> str:
    """Everything in a trace, as indented JSON; what is no finite number is a string: "inf", "-inf", "nan"."""
    held = trace.verification
    plainly = {
        "schema": 1,
        "formula": trace.text,
        "at": {name: _number(value) for name, value in zip(trace.variables, trace.at, strict=True)},
        "value": _number(trace.value),
        "gradient": {name: _number(value) for name, value in trace.gradient.items()},
        "seeds": [{"name": seed.name, "direction": list(map(_number, seed.direction))} for seed in trace.seeds],
        "values": [{"name": row.name, "rule": row.rule, "number": _number(row.number)} for row in trace.values],
        "derivatives": [
            {"name": row.name, "rule": row.rule, "numbers": list(map(_number, row.numbers))} for row in trace.tangents
        ],
        "adjoints": [
            {"name": row.name, "rule": row.rule, "number": _number(row.number), "from": row.source} for row in trace.adjoints
        ],
        "not_finite": [
            {"table": one.table, "name": one.name, "rule": one.rule, "number": _number(one.number)} for one in trace.births
        ],
        "remarks": [
            {
                "name": one.name,
                "rule": one.rule,
                "partial": one.partial,
                "number": _number(one.number),
                "says": remarked(one, plain),
            }
            for one in trace.remarks
        ],
        "verification": None if held is None else {
            "against": ["torch.func.jvp", "torch.func.vjp", held.whole_of],
            "numbers": len(held.rows),
            "not_compared": held.incomparable,
            "rows": [_comparison(one) for one in held.rows],
            "whole": [_comparison(one) for one in held.whole],
            "failed": [_comparison(one) for one in held.failed],
        },
    }  # fmt: skip
    return json.dumps(plainly, indent=2, ensure_ascii=False) + "\n"


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _comparison(one: Comparison) -> dict[str, object]:
    return {
        "name": one.name,
        "number": _number(one.number),
        "torch": _number(one.reference),
        "tolerance": one.tolerance,
        "reason": one.reason,
        "holds": one.holds,
    }


def to_latex(trace: Trace, precision: int = 5) -> str:
    """A document that compiles: the evaluation trace and, beside it, the derivative trace and the adjoint trace."""
    left, *others = all_blocks(trace, plain, precision)
    tables = [_table([left, other], trace) for other in others] or [_table([left], trace)]
    names = zip(trace.variables, trace.at, strict=True)
    point = r",\; ".join(f"{variable(name)} = {number_in_latex(f'{value:g}')}" for name, value in names)
    head = rf"$y = $ \texttt{{{escape_any(shortened(trace.text))}}} \quad at ${point}$"
    said = [line.text.lstrip("!? ") for line in lines(trace, plain, precision) if line.role in _SAID]
    ends = [rf"\par\noindent {escape_any(line.removeprefix('ok '))}" for line in said]
    return document("\n".join([head, *tables, *ends]), packages=("longtable", "array"))


def _table(blocks: Sequence[Block], trace: Trace) -> str:
    """Traces side by side; a row of each is name, = rule, = number(s), remark."""
    counts = [len(block.headings) + 4 for block in blocks]
    layout = _BETWEEN.join("l@{ }l@{ }c@{ }" + r"r@{\quad}" * len(block.headings) + "l" for block in blocks)
    ends = [*["l" + _BETWEEN] * (len(blocks) - 1), "l"]
    named = zip(blocks, counts, ends, strict=True)
    titles = [rf"\multicolumn{{{count}}}{{{end}}}{{\textbf{{{block.title}}}}}" for block, count, end in named]
    head = [" & ".join(titles) + _END]
    if any(heading for block in blocks for heading in block.headings):
        head.append(" & ".join(" & ".join(["", "", "", *map(escape_any, block.headings), ""]) for block in blocks) + _END)
    cells = [[_cells(row, len(block.headings), trace) for row in block.rows] for block in blocks]
    full = (zip(row, counts, strict=True) for row in zip_longest(*cells))
    body = [" & ".join(cell or "& " * (count - 1) for cell, count in row) + _END for row in full]
    return "\n".join([rf"\begin{{longtable}}[l]{{{layout}}}", *head, r"\hline", r"\endhead", *body, r"\end{longtable}"])


def _cells(row: tuple[str, ...], numbers: int, trace: Trace) -> str:
    name, rule, *rest = row
    remark = rest[numbers] if len(rest) > numbers else ""
    shown = [f"${number_in_latex(number)}$" for number in rest[:numbers]]
    return " & ".join([f"${_name(name, trace)}$", f"$= {_rule(rule, trace)}$", "$=$", *shown, _remark(remark)])


def _remark(remark: str) -> str:
    if not remark.startswith("from "):
        return escape_any(remark)
    return f"from ${mathematics(remark.removeprefix('from '))}$"


def _name(name: str, trace: Trace) -> str:
    if name.startswith("dy/d") and name.removeprefix("dy/d") in trace.variables:
        return rf"\partial y/\partial {variable(name.removeprefix('dy/d'))}"
    return mathematics(name)


def _rule(rule: str, trace: Trace) -> str:
    if rule in trace.variables:
        return variable(rule)
    if rule.startswith("d") and rule[1:] in trace.variables:
        return variable(rule[1:], accent=r"\dot")
    return mathematics(rule)


def number_in_latex(text: str) -> str:
    r"""A written number in mathematics.

    >>> number_in_latex("-1.5e-09"), number_in_latex("-inf"), number_in_latex("2.0")
    ('-1.5 \\cdot 10^{-9}', '-\\infty', '2.0')
    """
    if "inf" in text or "nan" in text:
        return text.replace("inf", r"\infty").replace("nan", r"\mathrm{nan}")
    mantissa, _, exponent = text.partition("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else mantissa


def mathematics(rule: str) -> str:
    r"""A rule in LaTeX's mathematics.

    >>> mathematics("-bar_v_5*sin(v_-1)"), mathematics("v_-1**2")
    ('-\\bar{v}_{5}\\cdot \\sin (v_{-1})', 'v_{-1}^{2}')
    """
    return "".join(_sign(found) for found in _TOKEN.finditer(rule))


def _sign(found: re.Match[str]) -> str:
    word, kind, position, raised, power = found[0], found[1], found[2], found[3], found[4]
    if position is not None:
        return {"bar_": r"\bar{v}", "d": r"\dot{v}", None: "v"}[kind] + f"_{{{position}}}"
    if raised is not None or power is not None:
        return f"^{{{mathematics(raised or power)}}}"
    if word[0].isdigit():
        return number_in_latex(word)
    if word.isidentifier():
        return _word(word)
    return {"*": r"\cdot ", ">=": r"\ge ", "<=": r"\le "}.get(word, word)


def _word(word: str) -> str:
    if word == "bar_y":
        return r"\bar{y}"
    if word in {"y", "H"}:
        return word
    if word == "dy":
        return r"\dot{y}"
    if word == "pi":
        return r"\pi "
    return f"\\{word} " if word in _FUNCTIONS else rf"\operatorname{{{escape(word)}}}"


def variable(name: str, accent: str = "") -> str:
    r"""A user's variable in mathematics: x1 with an index, a Greek letter as such, a word upright; perhaps with an accent.

    >>> variable("x1"), variable("beta"), variable("learning_rate"), variable("σ"), variable("x1", "\\dot")
    ('x_{1}', '\\mathrm{beta}', '\\mathrm{learning\\_rate}', '\\sigma', '\\dot{x}_{1}')
    """
    found = re.fullmatch(r"([^\W\d_])_?(\d*)", name)
    letter = rf"\mathrm{{{escape_any(name)}}}"
    if found:
        letter = found[1] if found[1].isascii() else _greek(found[1])
    return (f"{accent}{{{letter}}}" if accent else letter) + (f"_{{{found[2]}}}" if found and found[2] else "")


def _greek(letter: str) -> str:
    words = unicodedata.name(letter, "").split()
    known = words[:1] == ["GREEK"] and words[-1] in _GREEK and "SMALL" in words
    return f"\\{words[-1].lower()}" if known else rf"\mathrm{{{escape_any(letter)}}}"


_GREEK = {
    "ALPHA", "BETA", "GAMMA", "DELTA", "EPSILON", "ZETA", "ETA", "THETA", "IOTA", "KAPPA", "MU", "NU", "XI", "PI", "RHO", "SIGMA",
    "TAU", "UPSILON", "PHI", "CHI", "PSI", "OMEGA",
}  # fmt: skip


def escape_any(text: str) -> str:
    r"""Text made safe; a sign that LaTeX's own fonts lack is written as its name.

    >>> escape_any("α_1")
    '(GREEK SMALL LETTER ALPHA)\\_1'
    """
    return escape("".join(sign if sign.isascii() or sign in "·√≤×" else f"({unicodedata.name(sign, 'sign')})" for sign in text))
