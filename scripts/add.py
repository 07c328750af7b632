#!/usr/bin/env python3
"""Scaffolds a law, a part or a finding: the files that must exist, with what must be filled in.

    scripts/add.py law convolution.output_size
    scripts/add.py finding dead-units --topic activation --code TS110
    scripts/add.py part convolution

Nothing is overwritten. `pytest tests/test_registry.py` says what is still missing afterwards.
"""

import argparse
import re
import sys
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


def add_law(name: str) -> None:
    """A law in its topic's file, and a test that can fail."""
    topic, function = name.split(".")
    path = SOURCE / "laws" / f"{topic}.py"
    if path.exists() and f'"{name}"' in path.read_text(encoding="utf-8"):
        sys.exit(f"add.py: {path.relative_to(ROOT)} has the law {name} already")
    if not path.exists():
        write(path, LAW_HEADER.format(title=topic.capitalize()))
        print(f"         import {topic} in src/torchstone/laws/__init__.py")
    write(path, LAW.format(name=name, function=function), append=True)
    test = f"\n\ndef test_{function}_holds_and_a_broken_part_breaks_it():\n    raise AssertionError('hold {name} against torch')\n"
    write(TESTS / "laws" / f"test_{topic}.py", test, append=True)


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


def main() -> None:
    """Read the arguments and write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("law").add_argument("name", help="topic.quantity")
    kinds.add_parser("part").add_argument("topic")
    finding = kinds.add_parser("finding")
    finding.add_argument("name", help="kebab-case, the pattern seen")
    finding.add_argument("--topic", required=True)
    finding.add_argument("--code", required=True, help="TS000")
    given = parser.parse_args()
    if given.kind == "law":
        if not re.fullmatch(r"[a-z]+\.[a-z_]+", given.name):
            parser.error(f"a law is named topic.quantity in lower case, {given.name!r} came")
        add_law(given.name)
    elif given.kind == "part":
        if not re.fullmatch(r"[a-z]+", given.topic):
            parser.error(f"a topic is one word in lower case, {given.topic!r} came")
        add_part(given.topic)
    else:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", given.name) or not re.fullmatch(r"TS\d{3}", given.code):
            parser.error(f"a finding has a kebab-case name and a TS000 code; {given.name!r}, {given.code!r} came")
        add_finding(given.name, given.topic, given.code)


if __name__ == "__main__":
    main()
