"""The verb `explain`: the page of a finding or a law, from its own docstring."""

import inspect

import torchstone.laws  # noqa: F401 - registers every law
from torchstone.checks.check import all_checks
from torchstone.core.errors import UsageError
from torchstone.core.law import Law, all_laws


def explain(name: str) -> str:
    """The page of a finding (by name or code) or a law (`topic.quantity`), as Markdown.

    >>> explain("loss.uniform_cross_entropy").splitlines()[0]
    '# loss.uniform_cross_entropy'
    """
    for check in all_checks():
        if name in {check.NAME, check.CODE}:
            return f"# {check.NAME} ({check.CODE})\n\n{inspect.cleandoc(check.__doc__ or '')}\n"
    for law in all_laws():
        if law.name == name:
            return _law_page(law)
    known = [check.NAME for check in all_checks()] + [law.name for law in all_laws()]
    message = f"nothing is named {name!r}; there are: {', '.join(known)}"
    raise UsageError(message)


def _law_page(law: Law) -> str:
    document = inspect.cleandoc(law.formula.__doc__ or "").splitlines()
    body = "\n".join(document[1:]).strip()
    example = body.find(">>>")
    text, code = (body[:example].strip(), body[example:].strip()) if example >= 0 else (body, "")
    parts = [f"# {law.name}", document[0], f"A law of kind *{law.kind}*, in {law.unit}."]
    if text:
        parts.append(text)
    if law.assumes:
        parts.append("## Assumes\n" + "\n".join(f"- {item}" for item in law.assumes))
    if code:
        parts.append(f"## Example\n```python\n{code}\n```")
    parts.append("## Sources\n" + "\n".join(f"- {item}" for item in law.sources))
    return "\n\n".join(parts) + "\n"


def summary() -> str:
    """What there is to explain, a line each."""
    lines = ["Findings:"]
    lines += [f"  {check.NAME:<36} {check.CODE}  {(check.__doc__ or '').strip().splitlines()[0]}" for check in all_checks()]
    lines.append("Laws:")
    lines += [f"  {law.name:<44} {law.statement}" for law in all_laws()]
    return "\n".join(lines) + "\n"
