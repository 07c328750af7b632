"""Writes docs/laws and docs/findings from the docstrings; `--check` says what is out of date and changes nothing."""

import argparse
import sys
from pathlib import Path

import torchstone.laws  # noqa: F401 - registers every law
from torchstone.checks.check import all_checks
from torchstone.core.law import all_laws
from torchstone.explaining import explain, summary

DOCS = Path(__file__).resolve().parents[1] / "docs"


def pages() -> dict[Path, str]:
    """Every generated page."""
    found = {DOCS / "findings" / f"{check.NAME}.md": explain(check.NAME) for check in all_checks()}
    topics = sorted({law.topic for law in all_laws()})
    for topic in topics:
        laws = [explain(law.name) for law in all_laws() if law.topic == topic]
        found[DOCS / "laws" / f"{topic}.md"] = "\n".join(laws)
    found[DOCS / "index.md"] = f"# Findings and laws\n\n```text\n{summary()}```\n"
    return found


def main() -> int:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say which pages are out of date")
    arguments = parser.parse_args()
    wanted = pages()
    present = {path for folder in ("laws", "findings") for path in (DOCS / folder).glob("*.md")}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    stale += sorted(present - set(wanted))
    if arguments.check:
        for path in stale:
            print(f"{path.relative_to(DOCS.parent)} is out of date; run `make docs`")
        return int(bool(stale))
    for path in present - set(wanted):
        path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    print(f"{len(wanted)} pages, {len(stale)} of them new or changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
