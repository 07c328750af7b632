"""What the README says runs."""

import re
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_python_in_the_readme_runs():
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})


def test_every_finding_stands_in_the_readme():
    from torchstone.checks.check import all_checks

    assert all(f"`{check.NAME}`" in README for check in all_checks())
