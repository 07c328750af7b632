"""Every law of the registry is held, and broken, by name, in the file of its topic."""

import ast
from pathlib import Path

import pytest

from torchstone import laws
from torchstone.core.law import all_laws

FOLDER = Path(__file__).parent
assert laws.__all__


def named_in_calls(path, function):
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call) and node.args)
    return {
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == function and isinstance(call.args[0], ast.Constant)
    }


@pytest.mark.parametrize("law", all_laws(), ids=lambda law: law.name)
def test_a_law_holds_somewhere_and_breaks_somewhere(law):
    path = FOLDER / f"test_{law.topic}_laws.py"
    assert path.exists(), f"the laws of {law.topic} have no {path.name}: add holds(...) and breaks(...) for {law.name}"
    assert law.name in named_in_calls(path, "holds"), f"no holds({law.name!r}, ...) in {path.name}"
    assert law.name in named_in_calls(path, "breaks"), f"no breaks({law.name!r}, ...) in {path.name}: a law must be able to fail"
