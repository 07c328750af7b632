"""Answered questions as one HTML page: readable on a phone, in the dark and in print, nothing loaded from elsewhere."""

import base64
import re
from collections.abc import Iterable, Sequence
from html import escape

from torchstone.core.evidence import Evidence, Verdict
from torchstone.core.problem import Answer, Drawing, Judgement, Solved
from torchstone.report.problem import by_document, claim_as, counts, objections, tally
from torchstone.report.proof import describe

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --good: #18794e; --bad: #c62a2f; --open: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --good: #4cc38a; --bad: #ff8589; --open: #f1a10d; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
h3 { font-size: 1rem; margin: 0 0 .5rem; font-weight: 600; }
article { border-top: 1px solid var(--line); padding: .75rem 0; }
.answer { border-left: 3px solid var(--good); padding-left: .75rem; margin: .5rem 0; } .answer p { margin: .25rem 0; }
.dim { opacity: .75; }
.table, pre { overflow-x: auto; } pre { font-size: .8rem; line-height: 1.3; overflow-wrap: normal; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { white-space: normal; overflow-wrap: normal; vertical-align: bottom; }
th:first-child { text-align: left; } tfoot { font-weight: 600; }
figure { margin: .75rem 0; } figcaption { font-size: .85rem; opacity: .8; }
img { max-width: 100%; max-height: 28rem; background: #fff; } small { font-size: .85rem; }
.wide { overflow-x: auto; } .wide img { width: 44rem; max-width: none; max-height: none; }
ul, ol { margin: .25rem 0; padding-left: 1.5rem; }
.right, .holds { color: var(--good); } .wrong, .broken { color: var(--bad); } .incomplete, .undecided { color: var(--open); }
b.right, b.wrong, b.incomplete, b.undecided { border: 1px solid currentColor; border-radius: 4px; padding: 0 .4em; }
summary { cursor: pointer; } nav { font-size: .9rem; } nav a { display: inline-block; margin-right: .75em; padding: .15em 0; }
@media print {
  body { max-width: none; font-size: 11pt; padding: 0; } nav { display: none; }
  .wide img { width: 100%; } h2, h3 { break-after: avoid; } figure, .answer { break-inside: avoid; }
  details::details-content { content-visibility: visible; height: auto; }
}
"""
_WIDE = 640  # pixels: a wider drawing cannot be read on a phone unless it scrolls
_MARKS = {Verdict.HOLDS: "✓", Verdict.BROKEN: "✗", Verdict.UNDECIDED: "?"}
_COLUMNS = ("questions", "answered", "not yet", "faults", *(judgement.value for judgement in Judgement))


def to_html(solved: Sequence[Solved]) -> str:
    """The whole page: a table of documents, then each document with its questions."""
    documents = by_document(solved)
    body = "\n".join(_document(letter, part) for letter, part in documents.items())
    return document("problems", f"<p>{escape(tally(solved))}</p>\n{_index(documents, solved)}\n<main>\n{body}\n</main>")


def document(title: str, body: str) -> str:
    """A whole page around its body."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>torchstone {escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>torchstone {escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def _index(documents: dict[str, list[Solved]], solved: Sequence[Solved]) -> str:
    """What became of each document's questions, and of the answers posted to them: zero columns are left out."""
    total = counts(solved)
    shown = [column for column in _COLUMNS if total[column] or column in {"questions", "answered"}]
    titles = "".join(f"<th>{'posted ' * (column in set(Judgement))}{escape(column)}</th>" for column in shown)
    rows = "\n".join(
        f'<tr><th><a href="#document-{letter}">Document {letter}</a></th>{_counted(counts(part), shown)}</tr>'
        for letter, part in documents.items()
    )
    foot = f"<tfoot><tr><th>all</th>{_counted(total, shown)}</tr></tfoot>" if len(documents) > 1 else ""
    head = f"<thead><tr><th></th>{titles}</tr></thead>"
    return f'<div class="table"><table>\n{head}\n<tbody>\n{rows}\n</tbody>\n{foot}</table></div>'


def _counted(count: dict[str, int], shown: Iterable[str]) -> str:
    return "".join(f"<td>{count[column]}</td>" for column in shown)


def _document(letter: str, part: Sequence[Solved]) -> str:
    links = "".join(f'<a href="#{escape(one.question.id)}">{escape(one.question.id)} {_mark(one)}</a> ' for one in part)
    articles = "\n".join(map(_article, part))
    return f'<section>\n<h2 id="document-{letter}">Document {letter}</h2>\n<nav>{links}</nav>\n{articles}\n</section>'


def _mark(one: Solved) -> str:
    return "" if one.verdict is None else f'<span class="{one.verdict.value}">{_MARKS[one.verdict]}</span>'


def _article(one: Solved) -> str:
    question, name = one.question, escape(one.question.id)
    if one.answer is not None:
        inner = _answer(one.answer) + _posted(one)
    elif one.fault:
        inner = f'<p class="broken">fault: {escape(one.fault)}</p>'
    else:
        inner = '<p class="dim">not yet</p>'
    return f'<article id="{name}">\n<h3>{name} · {escape(question.statement)}</h3>\n{inner}</article>'


def _answer(answer: Answer) -> str:
    said = "".join(f"<p>{escape(line)}</p>\n" for line in answer.says)
    steps = _list("ol", map(escape, answer.derivation))
    remarks = _list("ul", map(escape, answer.remarks))
    drawn = "".join(_figure(drawing) for drawing in answer.drawings)
    held = _list("ul", (f"<code>{escape(item.law)}</code> {escape(describe(item))}" for item in answer.evidence), answer.evidence)
    evidence = f"<details><summary>evidence ({len(answer.evidence)})</summary>\n{held}</details>\n"
    return f'<div class="answer">\n{said}</div>\n{steps}{remarks}{drawn}{evidence}'


def _figure(drawing: Drawing) -> str:
    """As an image of its own: no name inside one drawing can meet one in another, and nothing in it can break the page."""
    title = escape(drawing.title)
    shown = f"<pre>{escape(drawing.text)}</pre>"
    if drawing.svg:
        image = f'<img alt="{title}" src="data:image/svg+xml;base64,{base64.b64encode(drawing.svg.encode()).decode()}">'
        shown = f'<div class="wide">{image}</div>' if _width(drawing.svg) > _WIDE else image
    return f"<figure>{shown}<figcaption>{title}</figcaption></figure>\n"


def _width(svg: str) -> float:
    """A drawing's own width, by its viewBox; 0 where it has none."""
    found = re.search(r'viewBox="\S+ \S+ (\S+) ', svg)
    return float(found[1]) if found else 0.0


def _posted(one: Solved) -> str:
    if one.posted is None or one.answer is None or one.judgement is None:
        return ""
    value = one.judgement.value
    against = _list("ul", map(escape, objections(one)))
    claims = one.answer.claims
    held = _list("ul", (escape(claim_as(claim, one)) for claim in claims), [claim.evidence for claim in claims])
    details = f"<details><summary>posted claims held ({len(claims)})</summary>\n{held}</details>\n" if claims else ""
    return f'<p>Posted: {escape(one.posted.says)} <b class="{value}">{value}</b></p>\n{against}{details}'


def _list(kind: str, items: Iterable[str], evidence: Iterable[Evidence] | None = None) -> str:
    """A list, each item behind the mark of its evidence if it has one."""
    if evidence is not None:
        marks = (f'<span class="{item.verdict.value}">{_MARKS[item.verdict]}</span>' for item in evidence)
        items = map(" ".join, zip(marks, items, strict=True))
    inner = "".join(f"<li>{item}</li>\n" for item in items)
    return f"<{kind}>\n{inner}</{kind}>\n" if inner else ""
