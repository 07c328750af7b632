"""Full runs of studies that were made once and ship with the package, judged anew by their study whenever they are read.

One file a study, NAME.jsonl: a first line of how it was made, then one line a run, as `runs.jsonl` has it. A study's folder becomes
such a file by `shipped`:

    python -c "from torchstone.studies.recorded import shipped; shipped('study-decay', 'torchstone study decay')"
"""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path

from torchstone.core.errors import UsageError
from torchstone.core.files import whole
from torchstone.core.study import Outcomes, StudyReport
from torchstone.studies.store import FILE, parsed
from torchstone.studies.study import find_study

LIMIT = 150_000  # bytes of one file


@cache
def recorded(name: str) -> StudyReport:
    """The report on a study's recorded full run: its figures as they were measured, its verdicts as they follow today.

    The first remark is the command that made it. Raises UsageError where nothing was recorded.
    """
    chosen = find_study(name)
    file = files(__name__).joinpath(f"{name}.jsonl")
    if not file.is_file():
        message = f"no full run of {name} was recorded; run `torchstone study {name}`"
        raise UsageError(message)
    header, runs = parsed(file.read_text(encoding="utf-8"))
    outcomes = Outcomes(tuple(runs))
    seeds = max(len(outcomes.of(setting)) for setting in outcomes.settings)
    said = [f"recorded by `{header['command']}`, which repeats it", *map(str, header.get("remarks", []))]
    if seeds == 1:
        said.append("recorded with one seed: no figure has an interval, and no law is decided by it")
    return StudyReport(
        chosen.NAME, chosen.QUESTION, chosen.SETTLES, dict(chosen.FIGURES), outcomes,
        tuple(chosen.judge(outcomes, quick=False)), tuple(chosen.plots(outcomes)), quick=False,
        seeds=seeds, seconds=sum(run.seconds for run in runs), remarks=tuple(said),
    )  # fmt: skip


def shipped(folder: str | Path, command: str, target: str | Path | None = None) -> Path:
    """Write a study's folder into the package (or `target`), with the command that made it and without the place of its data.

    Raises UsageError for a quick run, and for more than 150 kB: a recording is there for its figures.
    """
    header, runs = parsed((Path(folder) / FILE).read_text(encoding="utf-8"))
    if header.get("quick") or not runs:
        message = f"{folder} holds {'a quick run' if header.get('quick') else 'no runs'}; record a full one"
        raise UsageError(message)
    said = Path(folder) / "remarks.txt"
    remarks = said.read_text(encoding="utf-8").splitlines() if said.exists() else []
    first = json.dumps({"study": header["study"], "schema": header["schema"], "command": command, "remarks": remarks})
    lines = (Path(folder) / FILE).read_text(encoding="utf-8").splitlines()[1:]
    text = "".join(f"{line}\n" for line in [first, *lines])
    if len(text.encode()) > LIMIT:
        message = f"{folder} came to {len(text.encode()):,} bytes, above {LIMIT:,}: keep fewer pictures and curves in its runs"
        raise UsageError(message)
    place = Path(target) if target is not None else Path(__file__).parent / f"{header['study']}.jsonl"
    with whole(place) as part:
        part.write_text(text, encoding="utf-8")
    return place
