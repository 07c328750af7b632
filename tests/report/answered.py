"""Questions made by hand, one of every fate: held, broken, judged each way, faulted, open."""

import math

from torchstone.core.evidence import Evidence, Site
from torchstone.core.problem import Answer, Claim, Drawing, Posted, Question, Solved
from torchstone.core.quantity import Amount, Quantity, Tolerance, Unit

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect id="a" width="8" height="8"/></svg>'
ROUNDING = Tolerance(rounding=Amount(1e-12, "float64"))


def evidence(predicted=2.0, measured=2.0, reason="", how="k=<3>"):
    found = None if measured is None else Quantity(measured, Unit.VALUE)
    return Evidence("convolution.output_size", Site(), Quantity(predicted, Unit.VALUE), found, ROUNDING, how=how, reason=reason)


def answer(*claims, held=None, drawings=()):
    return Answer(("half & half <b>", "second"), ("step one", "step two"), (held or evidence(),), claims, drawings, ("a remark",))


def question(name, *asks):
    return Question(name, "convolution", f"What is the <size> of {name}?", asks)


HELD, BROKEN = Claim("size", evidence()), Claim("size", evidence(3.0), "it is 2, not 3: 1 < 2")
RIGHT = Solved(question("A1", "size"), Posted("2", {"size": 2}), answer(HELD, drawings=(Drawing("a & b", "x|y", SVG),)), 0.5)
WRONG = Solved(question("A2", "size"), Posted("3 & 4", {"size": 3}), answer(BROKEN), 0.5)
INCOMPLETE = Solved(question("B1", "size", "rate"), Posted("2", {"size": 2}), answer(HELD), 0.5)
UNHELD = Solved(question("B2", "size"), Posted("2", {"size": 2}), answer(), 0.5)
UNDECIDED = Solved(question("B3"), None, answer(held=evidence(measured=None, reason="no device")), 0.5)
NOT_A_NUMBER = Solved(question("B4"), None, answer(held=evidence(measured=math.nan)), 0.5)
FAULT = Solved(question("C1", "size"), Posted("2", {"size": 2}), None, 0.5, "ValueError: <nothing>")
OPEN = Solved(question("C2"), Posted("later", {}), None)
ALL = (RIGHT, WRONG, INCOMPLETE, UNHELD, UNDECIDED, NOT_A_NUMBER, FAULT, OPEN)
