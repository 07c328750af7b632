"""LaTeX that compiles, whatever is written."""

import shutil
import subprocess

import pytest

from torchstone.report.latex import document, escape

SIGNS = "".join(map(chr, range(32, 127))) + "".join(map(chr, range(0xA0, 0x250))) + "²₁½λΣος·…–—“”‘’√≤≥≠≈×±−∞∈∇∂∑∏∘‖→✓✗°⟂𝑥µ\t\x7f漢🙂"


@pytest.mark.parametrize(("text", "safe"), [
    ("50 % of a_1 & {b} #2 $3 ^~\\", r"50 \% of a\_1 \& \{b\} \#2 \$3 \textasciicircum{}\textasciitilde{}\textbackslash{}"),
    ("x² + y₁ ≤ ½ λ", r"x$^{2}$ + y$_{1}$ $\le$ 1/2 $\lambda$"),
    ("Cramér, µ and 𝑥", r"Cram\'{e}r, $\mu$ and x"),
    ("漢\t\x00", "?  "),
    ("a < b | c > d", r"a \textless{} b \textbar{} c \textgreater{} d"),
])
def test_signs_are_set_or_questioned(text, safe):
    assert escape(text) == safe


def test_only_ascii_is_left():
    assert escape(SIGNS).isascii()


def test_a_document_uses_its_packages():
    assert r"\usepackage{longtable}" in document("x", ["longtable"])


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_every_sign_compiles(tmp_path):
    (tmp_path / "all.tex").write_text(document("\n".join(escape(sign) + r"\par" for sign in SIGNS)))
    done = subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, [line for line in done.stdout.splitlines() if line.startswith("!")]
