"""A study's report where a terminal is narrow, and its plots."""

import io

import pytest
from rich.console import Console

from torchstone.core.evidence import Evidence, Relation, Site
from torchstone.core.quantity import Quantity, Unit
from torchstone.core.study import Outcome, Outcomes, Plot, StudyReport
from torchstone.report import plots as drawing
from torchstone.report.plots import save_plots
from torchstone.report.study import print_report, tally, to_html

FIGURES = {
    "loss": "validation loss at the end [nats a token]", "error": "test error [%], 12 draws", "bits": "KL [bits]",
    "first": "first loss [nats]", "rate": "rate / threshold [doublings]", "hits": "first accuracy",
}  # fmt: skip
LONG = "20 steps, deterministic and more"


def report(plots=()):
    runs = [
        Outcome(name, seed, {figure: 1.2345 + 0.01 * seed * place for place, figure in enumerate(FIGURES)})
        for name in ("[one]", LONG) for seed in range(3)
    ]
    held = [Quantity(value, Unit.VALUE) for value in (0.0, 1.0)]
    made = {"how": "one [minus] two", "reason": ""}
    evidence = (
        Evidence("a.law", Site(), held[0], held[1], relation=Relation.AT_LEAST, **made),
        Evidence("a.law", Site(), held[0], held[1], how="three", reason="the interval does not decide, whatever one may wish for"),
    )
    return StudyReport("toy", "Is it so?", ("A1",), FIGURES, Outcomes(tuple(runs)), evidence, tuple(plots), True, 3, 1.0, ("told [so]",))


def printed(width):
    text = io.StringIO()
    print_report(report(), Console(file=text, width=width, highlight=False))
    return text.getvalue()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_line_is_too_long_no_unit_lost_and_no_interval_torn(width):
    text = printed(width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text and "[one]" in text and "one [minus] two" in text and "told [so]" in text
    for words in FIGURES.values():
        assert all(word in text for word in words.split())
    assert text.count("1.234 ±0.012") + text.count("±") >= 2 * (len(FIGURES) - 1)
    assert not any(line.strip().startswith("±") for line in text.splitlines())


def test_the_last_line_is_the_verdict_on_the_whole():
    assert printed(80).splitlines()[-1] == tally(report()) == "undecided: 1 hold, 1 undecided"
    page = to_html(report())
    assert '<b class="undecided">undecided</b> 1 hold, 1 undecided' in page
    assert page.index("<table>") < page.index("Laws held")


def test_a_wide_interval_does_not_flatten_the_curves_and_zero_is_no_place_on_a_log_axis():
    curve = ((1.0, 1.0), (2.0, 2.0))
    low, high = drawing._limits(Plot("a", "A", series={"x": curve}, widths={"x": (100.0, 0.5)}))
    assert 0 >= low > -1.0 and 3.0 <= high < 4.0
    low, high = drawing._limits(Plot("a", "A", series={"x": curve}, widths={"x": (100.0, 0.5)}, log_y=True))
    assert 0 < low < 1.0 < 2.0 < high < 10


def test_every_kind_of_plot_is_drawn_without_a_warning(tmp_path):
    few = ((1e-6, 0.5), (1e-3, 2.0), (1.0, 30.0))
    many = tuple((float(x), 1.0 + x % 3) for x in range(40))
    square = ((0.0, 1.0), (1.0, 0.0))
    save_plots(
        [
            Plot("sweep", "Sweep", "beta", "%", {"x": few, "y": few}, {"x": (1.0, 1.0, 1.0)}, {"r": 1.0, "s": 2.0}, log_x=True, log_y=True),
            Plot("band", "Band", "step", "nats", {"y": many}, {"y": (0.5,) * 40, "absent": (1.0,)}),
            Plot("cloud", "Cloud", "a", "b", {"x": many}, points=True),
            Plot("faces", "Faces", pictures={str(at): square for at in range(10)}),
            Plot("empty", "Empty", "a", "b"),
        ],
        tmp_path,
    )
    assert len(list(tmp_path.iterdir())) == 10 and all(path.stat().st_size for path in tmp_path.iterdir())
