#!/usr/bin/env python3
"""Scaffolds a law with its experiment, an answer, a part or a finding: the files that must exist, with what must be filled in.

    scripts/add.py law noise.kept_share
    scripts/add.py law convolution.output_size --file geometry     (where the topic is a folder)
    scripts/add.py problem B5 --topic convolution
    scripts/add.py finding dead-units --topic activation --code TS110
    scripts/add.py part convolution

Nothing is overwritten. `pytest tests/test_registry.py tests/proofs tests/problems` says what is still missing afterwards.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE, TESTS = ROOT / "src" / "torchstone", ROOT / "tests"

LAW_HEADER = '''"""{title}: (one sentence). (Units.)

Axis letters: (those used here).
"""

from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit
'''

LAW = '''

@law(
    "{name}",
    Kind.COUNT,
    Unit.COUNT,
    assumes=(),
    sources=("author year, section",),
)
def {function}(size: int) -> int:
    """(The statement, one sentence with the formula.)

    Breaks when: (what must not be).

    >>> {function}(2)
    2
    """
    return size
'''

EXPERIMENT_HEADER = '''"""{title} of torch against the laws. Axis letters: (those used here)."""

from collections.abc import Iterator

from torchstone.core.evidence import Evidence
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import Part, experiment
from torchstone.proofs.holding import held
'''

EXPERIMENT = '''

def {function}_part(size: int) -> int:
    """(The running torch code.)"""
    raise NotImplementedError("the torch code that {name} is held against")


@experiment("{name}", part={function}_part, mutants={{"(what was broken)": lambda size: {function}_part(size) + 1}})
def {function}(part: Part, draws: Draws) -> Iterator[Evidence]:
    """(What is drawn; edge cases first.)"""
    for size in [1, 2, *draws.integers(3, 100, 50)]:
        yield held("{name}", {{"size": size}}, part(size))
'''

SOLVER_HEADER = '''"""Questions about {topic}."""

from torchstone.core.problem import Answer, Claim, Posted
from torchstone.problems.answering import answers, proved
'''

SOLVER = '''

@answers("{name}")
def {function}(posted: Posted) -> Answer:
    """(What is computed, and what it is held against.)"""
    says = ("(a line for each of the question's asks, made of computed values)",)
    derivation = ("(two to six short lines)",)
    evidence = proved("(topic.law)")
    claims = tuple(Claim(about, evidence[0], "(what the evidence shows instead)") for about in posted.claims)
    return Answer(says, derivation, evidence, claims)
'''

CHECK = """'''(What goes wrong, one sentence.)

## What it holds
`{topic}.(law)`: (what, and where it is held).

## Why it matters
(What training loses.)

## Example
```python
(the smallest script that shows it, at most 20 lines)
```

## Report
```text
```

## Remedy
(The change, and how it is tried.)

## Silent when
(What looks alike and is right.)

## Limits
(Undecided cases, known false alarms, cost.)

## Sources
(Paper and section, torch documentation.)
'''

from collections.abc import Iterator, Sequence

from torchstone.core.evidence import Evidence
from torchstone.core.finding import Change, Finding
from torchstone.core.recording import Recording

NAME = "{name}"
CODE = "{code}"
LAWS = ("{topic}.(law)",)
SINCE = "(version)"


def hold(recording: Recording) -> Iterator[Evidence]:
    \"\"\"Evidence for every site, also where the law holds.\"\"\"


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    \"\"\"One finding for each cause.\"\"\"


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    \"\"\"What may remedy it, executable by torchstone.remedy.interventions.\"\"\"


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    \"\"\"What to do by hand.\"\"\"
"""

SCRIPT = '"""(A real training script: {what}.)"""\n'


def write(path: Path, text: str, *, append: bool = False) -> None:
    """Write a new file, or append to one; never over what is there."""
    if path.exists() and not append:
        print(f"kept     {path.relative_to(ROOT)}")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
    print(f"{'extended' if append else 'made    '} {path.relative_to(ROOT)}")


def place(layer: str, topic: str, file: str | None) -> Path:
    """The topic's file in a layer: a file of its own, or one of its folder."""
    folder = SOURCE / layer / topic
    if not folder.is_dir():
        return folder.with_suffix(".py")
    if file is None:
        files = ", ".join(sorted(path.stem for path in folder.glob("[!_]*.py")))
        sys.exit(f"add.py: {folder.relative_to(ROOT)} is a folder; say in which file, old or new: --file NAME (there are: {files})")
    return folder / f"{file}.py"


def extend(path: Path, header: str, text: str, taken: str) -> None:
    """Append to a file, made with its header if it is new; refuse what it has already."""
    if path.exists() and taken in path.read_text(encoding="utf-8"):
        sys.exit(f"add.py: {path.relative_to(ROOT)} has {taken} already")
    write(path, ("" if path.exists() else header) + text, append=path.exists())


def add_law(name: str, file: str | None) -> None:
    """A law in its topic's file, and its experiment, whose part must be written before anything passes."""
    topic, function = name.split(".")
    law, proof = place("laws", topic, file), place("proofs", topic, file)
    new, title = not law.exists(), topic.capitalize()
    extend(law, LAW_HEADER.format(title=title), LAW.format(name=name, function=function), f'"{name}"')
    extend(proof, EXPERIMENT_HEADER.format(title=title), EXPERIMENT.format(name=name, function=function), f'"{name}"')
    if new:
        print(f"         import {law.stem} in {(law.parent / '__init__.py').relative_to(ROOT)}")
    print(f"         `torchstone prove {name} --mutants` holds it, as `pytest tests/proofs` does; `make docs` writes its page")


def add_problem(name: str, topic: str | None, file: str | None) -> None:
    """A solver in its topic's file."""
    questions = tomllib.loads((SOURCE / "problems" / "questions.toml").read_text(encoding="utf-8"))
    if name not in questions:
        sys.exit(f"add.py: no question is named {name}; write it in src/torchstone/problems/questions.toml first")
    topic = topic or questions[name]["topic"]
    solver = SOLVER.format(name=name, function="answer_" + name.lower().replace(".", "_"))
    extend(place("problems", topic, file), SOLVER_HEADER.format(topic=topic), solver, f'@answers("{name}")')
    print("         questions.toml: asks = [...], the parts of a whole answer; posted.toml: what was posted to each, as data")
    print(f"         `pytest tests/problems -k {name}` holds it, `torchstone problems {name}` shows it")


def add_finding(name: str, topic: str, code: str) -> None:
    """A check, its bad and good scripts."""
    path = SOURCE / "checks" / topic / f"{name.replace('-', '_')}.py"
    write(path.parent / "__init__.py", f'"""Findings about {topic}."""\n')
    write(path, CHECK.format(name=name, topic=topic, code=code))
    for kind, what in (("bad", "it draws the finding"), ("good", "the same, repaired")):
        write(TESTS / "scripts" / name / f"{kind}.py", SCRIPT.format(what=what))
    print("         `pytest tests/test_findings.py --update` writes the golden reports, `make docs` the page")


def add_part(topic: str) -> None:
    """A part's file in every layer that has topics."""
    write(SOURCE / "parts" / "__init__.py", '"""The systems as PyTorch objects, one file a topic."""\n')
    write(SOURCE / "parts" / f"{topic}.py", f'"""{topic.capitalize()}: PyTorch objects."""\n')
    write(TESTS / "parts" / f"test_{topic}.py", f'"""Parts of {topic} against their obviously right references."""\n')


def arguments() -> argparse.ArgumentParser:
    """What may be typed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    quantity = named(r"[a-z]+\.[a-z][a-z0-9_]*", "a law is named topic.quantity in lower case")
    topic = named(r"[a-z]+", "a topic is one word in lower case")
    pattern = named(r"[a-z0-9]+(-[a-z0-9]+)+", "a finding has a kebab-case name")
    law = kinds.add_parser("law")
    law.add_argument("name", help="topic.quantity", type=quantity)
    problem = kinds.add_parser("problem")
    problem.add_argument("name", help="the question's id, such as B5 or E1.1.3a")
    problem.add_argument("--topic", type=topic, help="by default, the question's own")
    for kind in (law, problem):
        file = named(r"[a-z_]+", "a file is named in lower case")
        kind.add_argument("--file", type=file, help="which file, where the topic is a folder")
    kinds.add_parser("part").add_argument("topic", type=topic)
    finding = kinds.add_parser("finding")
    finding.add_argument("name", help="kebab-case, the pattern seen", type=pattern)
    finding.add_argument("--topic", required=True, type=topic)
    finding.add_argument("--code", required=True, help="TS000", type=named(r"TS\d{3}", "a code is TS and three digits"))
    return parser


def named(pattern: str, said: str) -> Callable[[str], str]:
    """A reader of one argument that refuses what does not fit the pattern."""

    def read(typed: str) -> str:
        if not re.fullmatch(pattern, typed):
            message = f"{said}; {typed!r} came"
            raise argparse.ArgumentTypeError(message)
        return typed

    return read


def main() -> None:
    """Read the arguments and write the files."""
    given = arguments().parse_args()
    if given.kind == "law":
        add_law(given.name, given.file)
    elif given.kind == "problem":
        add_problem(given.name, given.topic, given.file)
    elif given.kind == "part":
        add_part(given.topic)
    else:
        add_finding(given.name, given.topic, given.code)


if __name__ == "__main__":
    main()
