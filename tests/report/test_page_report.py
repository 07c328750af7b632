"""The page, read by a parser: sound, complete, escaped, and alone in the world."""

import base64
from html.parser import HTMLParser

import pytest

from report.answered import ALL, OPEN, RIGHT, SVG, WRONG, answer, question
from torchstone.core.problem import Drawing, Solved
from torchstone.report.page import to_html

VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Every element with its attributes and text, refusing what is not nested well."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.text = [], [], {}
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        if self.open:
            self.text.setdefault(self.open[-1], []).append(data)

    def values(self, name):
        return [attributes[name] for _, attributes in self.seen if name in attributes]


@pytest.fixture(scope="module")
def page():
    return Reader(to_html(ALL))


def test_it_is_one_document_in_a_language_with_a_title(page):
    assert to_html(ALL).startswith("<!doctype html>\n")
    assert [tag for tag, _ in page.seen].count("h1") == 1
    assert page.seen[0] == ("html", {"lang": "en"})
    assert page.text["title"] == ["torchstone problems"]
    assert page.text["h2"] == ["Document A", "Document B", "Document C"]


def test_ids_are_unique_and_every_link_arrives(page):
    ids = page.values("id")
    assert len(set(ids)) == len(ids)
    assert {f"#{one.question.id}" for one in ALL} <= set(page.values("href"))
    assert all(link.removeprefix("#") in ids for link in page.values("href"))


def test_nothing_is_loaded_from_elsewhere(page):
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.values("src"))
    assert not {tag for tag, _ in page.seen} & {"script", "link", "iframe", "object"}
    style = "".join(page.text["style"])
    assert "url(" not in style and "@import" not in style


def test_what_is_written_is_escaped(page):
    assert "half & half <b>" in page.text["p"]
    assert any("What is the <size> of A1?" in text for text in page.text["h3"])
    assert any("k=<3>" in text for text in page.text["li"])
    assert "fault: ValueError: <nothing>" in page.text["p"]
    nasty = '"><script>alert(1)</script>&amp;'
    drawn = Solved(question("A1"), None, answer(drawings=(Drawing(nasty, nasty, ""), Drawing(nasty, "", SVG))), fault="")
    read = Reader(to_html([drawn]))
    assert read.text["figcaption"] == [nasty, nasty]
    assert read.text["pre"] == [nasty]
    assert read.values("alt") == [nasty]


def test_a_drawing_is_an_image_within_the_page(page):
    (source,) = page.values("src")
    assert base64.b64decode(source.partition(",")[2]).decode() == SVG
    assert page.values("alt") == ["a & b"]


def test_it_is_fit_for_phones_the_dark_and_paper(page):
    style = "".join(page.text["style"])
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in [attributes for _, attributes in page.seen]
    assert "color-scheme: light dark" in style
    assert "@media (prefers-color-scheme: dark)" in style
    assert "@media print" in style


def test_the_table_at_the_top_counts_each_document(page):
    text = to_html(ALL)
    assert '<tr><th><a href="#document-B">Document B</a></th><td>4</td><td>4</td><td>0</td><td>0</td><td>0</td><td>1</td><td>0</td><td>1</td></tr>' in text
    assert "<tfoot><tr><th>all</th><td>8</td><td>6</td><td>1</td><td>1</td><td>1</td><td>1</td><td>1</td><td>1</td></tr></tfoot>" in text
    short = to_html([RIGHT, WRONG])
    assert "<thead><tr><th></th><th>questions</th><th>answered</th><th>posted right</th><th>posted wrong</th></tr></thead>" in short
    assert "tfoot" not in short.partition("</style>")[2]


def test_an_open_question_is_there_and_judges_nothing():
    text = to_html([OPEN])
    assert '<p class="dim">not yet</p>' in text
    assert "Posted" not in text
    assert Reader(to_html([])).text["p"] == ["0 questions: 0 answered, 0 not yet"]
