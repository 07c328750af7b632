"""The verb `problems`: questions found, answered by computing, and posted answers held against the same evidence.

`@answers("B5")` registers a function that is given the posted answer and returns an Answer:

    @answers("A1")
    def two_class_softmax(posted: Posted) -> Answer: ...
"""

import importlib
import pkgutil
import time
import tomllib
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

import torchstone
from torchstone import problems
from torchstone.core.errors import InvariantError, UsageError, meant, told
from torchstone.core.evidence import Evidence
from torchstone.core.problem import Answer, Posted, Question, Solved

Solver = Callable[[Posted], Answer]
Progress = Callable[[str, int, int], None]
_SOLVERS: dict[str, Solver] = {}


def answers(*ids: str) -> Callable[[Solver], Solver]:
    """Register the function that answers these questions; refuses a second one, and a question that no document asks."""

    def register(solver: Solver) -> Solver:
        for name in ids:
            if name in _SOLVERS or name not in all_questions():
                message = f"question {name} is answered twice, or asked nowhere (problems/questions.toml)"
                raise InvariantError(message)
            _SOLVERS[name] = solver
        return solver

    return register


@cache
def all_questions() -> dict[str, Question]:
    """Every question by its id, in the documents' order."""
    return {
        name: Question(name, row["topic"], row["statement"], tuple(row.get("asks", ())))
        for name, row in _read("questions.toml").items()
    }


@cache
def all_posted() -> dict[str, Posted]:
    """Every posted answer by its question's id."""
    return {
        name: Posted(row["says"], row.get("claims", {}), row.get("working", {})) for name, row in _read("posted.toml").items()
    }


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files(problems).joinpath(name).read_text(encoding="utf-8"))


@cache
def all_solvers() -> dict[str, Solver]:
    """Every solver by its question's id, found by walking the package."""
    for module in pkgutil.walk_packages(problems.__path__, f"{problems.__name__}."):
        importlib.import_module(module.name)
    return dict(_SOLVERS)


def answer(*ids: str, document: str | None = None, progress: Progress | None = None) -> tuple[Solved, ...]:
    """Answer the questions named (an id, or a prefix such as B7), those of one document, or all.

    A solver that raises costs its own question only: `fault` says what it raised. Raises UsageError if nothing has such an id.
    """
    chosen = choose(*ids, document=document)
    solved = []
    for position, question in enumerate(chosen):
        if progress:
            progress(question.id, position, len(chosen))
        solved.append(_solve(question))
    if progress:
        progress("done", len(chosen), len(chosen))
    return tuple(solved)


def choose(*ids: str, document: str | None = None) -> list[Question]:
    """The questions that `answer` would answer. Raises UsageError if nothing has such an id, or not in that document."""
    questions = all_questions()
    letters = sorted({question.document for question in questions.values()})
    for given in (*ids, *(() if document is None else (document,))):
        if not isinstance(given, str):
            message = f"questions and documents are named by text; {given!r} came: write answer('B5', 'B7')"
            raise UsageError(message)
    if document is not None and document.upper() not in letters:
        message = f"no document is named {document!r}; there are {', '.join(letters)}"
        raise UsageError(message)
    for name in ids:
        if not any(_matches(name, known) for known in questions):
            hint = f"; for all of {name.upper()}: --document {name.upper()}" if name.upper() in letters else meant(name, questions)
            message = f"no question is named {name!r}; ids look like B5 or B7.1; `torchstone problems --list` has all{hint}"
            raise UsageError(message)
    chosen = [question for question in questions.values() if not ids or any(_matches(name, question.id) for name in ids)]
    inside = [question for question in chosen if document is None or question.document == document.upper()]
    if not inside:
        message = f"document {document} does not ask {', '.join(ids)}; leave --document or the ids out"
        raise UsageError(message)
    return inside


def _matches(name: str, known: str) -> bool:
    """Whether a name is an id, or the beginning of one up to a part: B7 names B7.1, B does not name B7, D1 not D10a."""
    rest = known.upper().removeprefix(name.upper())
    return known.upper().startswith(name.upper()) and (not rest or (len(name) > 1 and not rest[0].isdigit()))


def _solve(question: Question) -> Solved:
    posted, solver = all_posted().get(question.id), all_solvers().get(question.id)
    if solver is None:
        return Solved(question, posted, None)
    began = time.perf_counter()
    try:
        found = _checked(solver(posted or Posted()), posted or Posted())
    except Exception as error:  # noqa: BLE001 - one fault must not lose the other answers
        return Solved(question, posted, None, time.perf_counter() - began, told(error))
    return Solved(question, posted, found, time.perf_counter() - began)


def _checked(found: Answer, posted: Posted) -> Answer:
    """An answer holds claims that were posted, and no others: one about a misspelt part would count for nothing."""
    strays = {claim.about for claim in found.claims} - set(posted.claims) - set(posted.working)
    if strays:
        message = f"claims about {', '.join(sorted(strays))} were never posted (problems/posted.toml)"
        raise InvariantError(message)
    return found


def proved(*laws: str) -> tuple[Evidence, ...]:
    """The worst evidence of each of these laws, held against its part once a process; a law that faults proves nothing."""
    return tuple(item for law in laws for item in _worst(law))


@cache
def _worst(law: str) -> tuple[Evidence, ...]:
    proofs = torchstone.prove(law).proofs
    failed = [proof for proof in proofs if proof.fault or proof.worst is None]
    if failed:
        message = f"{failed[0].law} is not proved: {failed[0].fault or 'its experiment gave no evidence'}"
        raise InvariantError(message)
    return tuple(proof.worst for proof in proofs if proof.worst is not None)
