"""Golden reports: the words exactly, the numbers within a tolerance."""

import re

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
# Times and what they make (cost ratios) differ from run to run; a place's path does not belong to the words.
_VOLATILE = (
    (re.compile(r"\d+\.\d+× time"), "N× time"),
    (re.compile(r"[^\s(]*/(?=[\w.-]+\.py)"), ""),
    (re.compile(r" · [\d.]+ s\b"), " · N s"),
)


def stable(text):
    """A report without what differs between two runs of the same script."""
    for pattern, instead in _VOLATILE:
        text = pattern.sub(instead, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def finding_lines(output):
    """What check printed, from the headline on."""
    start = re.search(r"^(no finding|\d+ findings?): ", output, re.MULTILINE)
    assert start, output
    return stable(output[start.start() :])


def differences(expected, came, relative=0.05):
    """Why two reports differ, or nothing: words and line numbers exactly, other numbers within a share."""
    if _NUMBER.sub("#", expected) != _NUMBER.sub("#", came):
        return f"the words differ:\n{expected}\n--- came ---\n{came}"
    for a, b in zip(_NUMBER.findall(expected), _NUMBER.findall(came), strict=True):
        if abs(float(a) - float(b)) > relative * max(abs(float(a)), abs(float(b))) + 1e-6:
            return f"{a} was expected, {b} came, in:\n{came}"
    return ""
