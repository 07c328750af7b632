"""LaTeX that compiles: a document around a body, and text made safe."""

import unicodedata
from collections.abc import Iterable

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "·": r"\textperiodcentered{}", "…": r"\ldots{}", "–": "--", "—": "---",
    "“": "``", "”": "''", "‘": "`", "’": "'", "√": r"$\surd$", "≤": r"$\le$", "≥": r"$\ge$", "≠": r"$\ne$", "≈": r"$\approx$",
    "×": r"$\times$", "±": r"$\pm$", "−": r"$-$", "∞": r"$\infty$", "∈": r"$\in$", "∇": r"$\nabla$", "∂": r"$\partial$",
    "∑": r"$\sum$", "∏": r"$\prod$", "∘": r"$\circ$", "‖": r"$\|$", "→": r"$\to$", "✓": r"$\surd$", "✗": r"$\times$",
    "°": r"$^\circ$", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''",
}  # fmt: skip
_GREEK = (
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi", "pi", "rho",
    "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi",
    "Omega",
)  # fmt: skip
_SPECIAL |= {letter: rf"$\{name}$" for letter, name in zip("αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ", _GREEK, strict=True)}
_ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u030c": "v", "\u0327": "c"}


def escape(text: str) -> str:
    r"""Text with LaTeX's special signs made safe; a sign that it has no way to set becomes a question mark.

    >>> escape("a_1 & 50 %, x² ≤ λ")
    'a\\_1 \\& 50 \\%, x$^{2}$ $\\le$ $\\lambda$'
    """
    return "".join(_SPECIAL.get(sign) or _SPECIAL.get(unicodedata.normalize("NFKC", sign)) or _set(sign) for sign in text)


def _set(sign: str) -> str:
    if sign.isascii():
        return sign if sign.isprintable() else " "
    apart = unicodedata.normalize("NFD", sign)
    if apart[0].isascii() and apart[1:] in _ACCENTS:
        return rf"\{_ACCENTS[apart[1:]]}{{{apart[0]}}}"
    # Superscripts, subscripts, fractions and ornate letters have an ordinary twin.
    plain = unicodedata.normalize("NFKD", sign).replace("\N{FRACTION SLASH}", "/").encode("ascii", "ignore").decode()
    kind = unicodedata.decomposition(sign).partition(">")[0]
    return {"<super": f"$^{{{plain}}}$", "<sub": f"$_{{{plain}}}$"}.get(kind, plain) if plain.isprintable() and plain else "?"


def document(body: str, packages: Iterable[str] = ()) -> str:
    """A whole document around a body; landscape, because tables are wide."""
    used = "\n".join(rf"\usepackage{{{name}}}" for name in ("amsmath", *packages))
    head = "\\documentclass{article}\n\\usepackage[landscape,margin=15mm]{geometry}\n"
    return f"{head}{used}\n\\begin{{document}}\n\\noindent\n{body}\n\\end{{document}}\n"
