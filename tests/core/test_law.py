"""A law has a name, a statement and a source; the registry refuses a second law of one name."""

import pytest

from torchstone.core import law as registry
from torchstone.core.errors import InvariantError, UsageError
from torchstone.core.law import Kind, Law, all_laws, find_law, law
from torchstone.core.quantity import Unit


def formula():
    """One is one.

    More of it.
    """


def without_docstring():
    pass


@pytest.fixture
def empty_registry(monkeypatch):
    monkeypatch.setattr(registry, "_LAWS", {})


def make(name="topic.quantity", formula=formula, sources=("by hand",)):
    return Law(name, Kind.COUNT, Unit.COUNT, formula, None, (), sources)


@pytest.mark.parametrize(
    "name", ["", "topic", "topic.", ".quantity", "Topic.quantity", "topic.Quantity", "topic.two.dots", "topic.two words", "1topic.x", "a-b.c"]
)
def test_a_law_is_named_topic_dot_quantity_in_lower_case(name):
    with pytest.raises(InvariantError) as refused:
        make(name)
    assert str(refused.value) == f"a law is named topic.quantity in lower case; {name!r} came"


def test_a_law_has_a_docstring_and_its_first_line_is_the_statement():
    with pytest.raises(InvariantError, match=r"^law topic\.quantity has no docstring; its first line is the law's statement$"):
        make(formula=without_docstring)
    assert make().statement == "One is one."
    assert make().topic == "topic"


def test_a_law_names_a_source():
    with pytest.raises(InvariantError, match=r"^law topic\.quantity names no source \(author year, section, or the derivation\)$"):
        make(sources=())


@pytest.mark.usefixtures("empty_registry")
def test_the_decorator_hands_the_function_back_unchanged():
    assert law("topic.quantity", Kind.COUNT, Unit.COUNT, sources=("by hand",))(formula) is formula
    assert find_law("topic.quantity").formula is formula


@pytest.mark.usefixtures("empty_registry")
def test_two_laws_of_one_name_are_refused():
    register = law("topic.quantity", Kind.COUNT, Unit.COUNT, sources=("by hand",))
    register(formula)
    with pytest.raises(InvariantError, match=r"^two laws are named topic\.quantity: "):
        register(formula)


@pytest.mark.usefixtures("empty_registry")
def test_laws_come_by_name_and_an_unknown_one_names_those_known():
    with pytest.raises(UsageError, match=r"^no law is named 'a\.x'; known: none$"):
        find_law("a.x")
    for name in ("b.y", "a.z"):
        law(name, Kind.COUNT, Unit.COUNT, sources=("by hand",))(formula)
    assert [one.name for one in all_laws()] == ["a.z", "b.y"]
    with pytest.raises(UsageError, match=r"known: a\.z, b\.y$"):
        find_law("a.x")


def test_every_kind_of_claim_has_its_word():
    assert {kind.value for kind in Kind} == {"shape", "count", "cost", "gradient", "equivalence", "bound", "expectation", "trend"}
