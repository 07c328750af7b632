"""The ranks of a data-parallel run do not hold the same parameters any more.

## What it holds
`replication.distinct_models`: ranks that start equal and step along averaged gradients hold one model. Held bit for bit before the
sampled steps (0, 1, 2, 4, 8, ...) and at the end, on digests that each rank takes of its own parameters; nothing is sent between them.

## Why it matters
Every rank trains a model of its own on its share of the data, at its own small batch size; the one that is saved has never seen the
rest. The loss falls all the same.

## Example
```python
# run: torchrun 2
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

distributed.init_process_group("gloo")
rank = distributed.get_rank()
torch.manual_seed(0)
model = DistributedDataParallel(nn.Linear(8, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
torch.manual_seed(1 + rank)
for _ in range(10):
    inputs = torch.randn(32, 8)
    loss = nn.functional.cross_entropy(model.module(inputs), inputs[:, :3].argmax(1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
```

## Report
```text
1 finding: 5 laws broken, 10 held, 0 undecided          example.py · 10 steps · N s · loss 1.291 → 0.8935
✗ replicas-differ   example.py:9  optimizer 0
  the ranks hold different parameters
  predicted  2 ranks hold 1 model at every step
  measured   they hold 2 different ones at step 1, the first of 5 such looks of 6
  why        model.module.weight and 1 more of 2 differ: the gradients of step 0 differ from rank to rank: the forward pass was not seen to go through DistributedDataParallel, which averages only what does (.module was called?)
  remedy     not tried across processes; call the wrapper, model(inputs), and keep model.module for saving
  explain: torchstone explain replicas-differ
· rank 0 reports, 2 ranks were seen; no second run was made, in which one rank would wait for the others
```

## Remedy
By cause: call the wrapper and not `.module`; wrap once, after the weights are final; broadcast the parameters, where gradients are
averaged by hand; step on every rank or on none. Remedies are not tried: a second run of one rank would wait for the others.

## Silent when
No process group is initialised (a sweep of independent runs); nothing keeps the parameters equal and the gradients differ (ensembles,
tensor or pipeline parallelism, experts): undecided; parameters are averaged every few steps (local SGD), or spread over
the ranks (FSDP): undecided. Buffers may differ: every rank has its own running statistics.

## Limits
Started as `torchrun --nproc-per-node N -m torchstone check train.py`; rank 0 reports. Ranks on other machines are missing: what is
equal on those that are there is undecided then. Without DistributedDataParallel it speaks only where gradients are equal on all
ranks and parameters are not.

## Sources
Li et al. 2020, PyTorch Distributed, section 3; github.com/pytorch/pytorch issues 48188, 104336, 136009; github.com/StanfordBDHG/OpenTSLM
pull request 49.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torchstone.core.events import ParameterSeen, ReplicaState
from torchstone.core.evidence import Evidence, Site
from torchstone.core.finding import Change, Finding, Severity
from torchstone.core.quantity import Quantity, Unit
from torchstone.core.recording import Recording
from torchstone.laws import replication

NAME = "replicas-differ"
CODE = "TS169"
LAWS = ("replication.distinct_models",)
SINCE = "0.2"

# Hooks of torch's that leave the same gradient on every rank; others may average now and then, or not at all.
_AVERAGING = {
    "", "allreduce_hook", "fp16_compress_hook", "bf16_compress_hook", "fp16_compress_wrapper", "bf16_compress_wrapper",
    "powerSGD_hook", "batched_powerSGD_hook", "quantization_pertensor_hook", "quantization_perchannel_hook",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """One optimizer's parameters on the ranks that must hold the same, at one step."""

    states: tuple[ReplicaState, ...]

    @property
    def first(self) -> ReplicaState:
        """That of the lowest rank."""
        return self.states[0]

    @property
    def missing(self) -> tuple[int, ...]:
        """Ranks that nothing came from."""
        return tuple(sorted(set(self.first.ranks) - {state.rank for state in self.states}))

    @property
    def distinct(self) -> int:
        """How many different models there are."""
        return len({state.digests for state in self.states})

    @property
    def averaged(self) -> bool:
        """Whether every rank has the same gradient, and one at all."""
        return len({state.gradients for state in self.states}) == 1 and any(self.first.gradients)

    def parting(self) -> list[int]:
        """Places of the pieces that differ."""
        columns = zip(*(state.digests for state in self.states), strict=True)
        return [place for place, column in enumerate(columns) if len(set(column)) > 1]


_Line = list[Moment]


def _lines(recording: Recording) -> list[_Line]:
    """For each optimizer and set of ranks: its moments in order."""
    found: dict[tuple[int, tuple[int, ...], bool], dict[tuple[int, bool], dict[int, ReplicaState]]] = {}
    for state in recording.of(ReplicaState):
        if len(state.ranks) > 1:
            line = found.setdefault((state.optimizer, state.ranks, state.wrapped), {})
            line.setdefault((state.step, state.final), {})[state.rank] = state
    lines = []
    for line in found.values():
        moments = [Moment(tuple(at[rank] for rank in sorted(at))) for _, at in sorted(line.items(), key=lambda item: item[0])]
        # Ranks may be stopped a step apart: their last looks compare only where they are of the same step.
        lines.append([moment for moment in moments if not (moment.first.final and moment.missing)])
    return lines


def hold(recording: Recording) -> Iterator[Evidence]:
    """Every sampled step of every optimizer whose parameters several ranks hold."""
    for line in _lines(recording):
        met = _met_again(line)
        for moment in line:
            ranks = len(moment.first.ranks)
            yield Evidence(
                LAWS[0], _site(moment), Quantity(replication.distinct_models(ranks), Unit.COUNT),
                Quantity(moment.distinct, Unit.COUNT), how="digests on every rank", reason=_undecided(moment, line, met),
            )


def _undecided(moment: Moment, line: _Line, met: int | None) -> str:  # noqa: PLR0911 - one reason a line
    if any(state.sharded for state in moment.states):
        return "parameters are spread over the ranks, or known to the optimizer only"
    if len({len(state.digests) for state in moment.states}) > 1:
        return "the ranks step parameters of different number"
    if moment.distinct == 1:
        missing = ", ".join(map(str, moment.missing))
        return f"nothing came from rank {missing}" if missing else ""
    if moment.first.hook not in _AVERAGING:
        return f"gradients go through {moment.first.hook}, which may let the ranks differ on purpose"
    if met is not None:
        return f"the ranks are equal again at step {met}: parameters are averaged now and then"
    if not moment.first.wrapped and not any(one.averaged and one.distinct > 1 for one in line):
        return "nothing is seen to keep these parameters equal: no wrapper holds them, and the gradients differ as well"
    return ""


def _met_again(line: _Line) -> int | None:
    """The first step at which ranks that had parted hold one model again: by whole digests, or those of a few of each step."""
    apart = False
    for moment in line:
        if apart and moment.distinct == 1 and len(moment.states) > 1:
            return moment.first.step
        apart = apart or moment.distinct > 1
    traces: dict[int, dict[int, int]] = {}
    for state in (state for moment in line for state in moment.states):
        traces.setdefault(state.rank, {}).update(zip(state.at, state.recent, strict=True))
    shared = sorted(set.intersection(*(set(trace) for trace in traces.values()))) if len(traces) > 1 else []
    apart = False
    for step in shared:
        equal = len({trace[step] for trace in traces.values()}) == 1
        if apart and equal:
            return step
        apart = apart or not equal
    return None


def _site(moment: Moment) -> Site:
    state = moment.first
    return Site(f"optimizer {state.optimizer}", state.place.file, state.place.line, state.step, "train")


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding for each optimizer and set of ranks: where they part first."""
    names = {seen.parameter: seen.names for seen in recording.of(ParameterSeen)}
    for line in _lines(recording):
        sites = [_site(moment) for moment in line]
        mine = tuple(evidence for evidence in broken if evidence.site in sites)
        parted = [index for index, moment in enumerate(line) if _site(moment) in {evidence.site for evidence in mine}]
        if not mine:
            continue
        first = line[parted[0]]
        before = line[parted[0] - 1] if parted[0] else None
        ranks, step = len(first.first.ranks), first.first.step
        yield Finding(
            NAME, CODE, Severity.ERROR, "the ranks hold different parameters", mine,
            message=f"{_parameters(first, names)} {_cause(first, before, _steps(recording, line))}",
            predicted_as=f"{ranks} ranks hold 1 model at every step",
            measured_as=f"they hold {first.distinct} different ones at step {step}, the first of {len(mine)} such looks of {len(line)}",
        )


def _parameters(moment: Moment, names: Mapping[int, Sequence[str]]) -> str:
    parting = moment.parting()
    known = names.get(moment.first.parameters[parting[0]], ()) if parting else ()
    others = f" and {len(parting) - 1} more of {len(moment.first.digests)}" if len(parting) > 1 else ""
    one = not others
    return f"{known[0] if known else 'a parameter'}{others} {'differs' if one else 'differ'}:"


def _steps(recording: Recording, line: _Line) -> dict[int, int]:
    """How many steps each rank had taken in the end."""
    ranks = set(line[0].first.ranks)
    return {state.rank: state.step for state in recording.of(ReplicaState) if state.final and state.rank in ranks}


def _cause(moment: Moment, before: Moment | None, steps: Mapping[int, int]) -> str:
    state = moment.first
    if before is None:
        if not state.wrapped:
            return "gradients are averaged, but each rank began with parameters of its own: nothing sent those of rank 0 to the others"
        return (
            f"they differ before step {state.step}: DistributedDataParallel made them equal where it was built, and one rank's were"
            " changed after that (drawn, loaded or edited)"
        )
    past = before.first
    if len(set(steps.values())) > 1:
        taken = ", ".join(f"{count} on rank {rank}" for rank, count in sorted(steps.items()))
        return f"equal at step {past.step} still; a step was left out on one rank after that ({taken} in the end)"
    span = f"at step {past.step}" if state.step == past.step + 1 else f"between steps {past.step} and {state.step}"
    if before.averaged:
        return (
            f"the gradients of step {past.step} are equal on all ranks, so what came after them was not, {span}: a step left"
            " out on one rank, another learning rate, or gradients that were not averaged once"
        )
    return f"the gradients of step {past.step} differ from rank to rank: {_unaveraged(past)}"


def _unaveraged(state: ReplicaState) -> str:
    if not state.wrapped:
        return "they were not averaged"
    if state.wrappers > 1 and state.wrappers > state.step:
        return f"{state.wrappers} wrappers have been built by then, one for each step, and what they average is not what is stepped"
    if not state.called:
        return "the forward pass was not seen to go through DistributedDataParallel, which averages only what does (.module was called?)"
    if not state.syncs:
        return "the backward pass ran under no_sync(), and the step followed it"
    return (
        "DistributedDataParallel ran, but what was stepped is not its average: gradients changed on a rank afterwards (a GradScaler"
        " or clipping by a rank's own numbers), hooks lost (parameters moved or replaced after wrapping), or a second backward pass"
    )


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """None: a second run of one rank would wait for the others."""
    del finding, recording
    return ()


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """What to do, by what the ranks' states say."""
    line = next((one for one in _lines(recording) if any(_site(moment) == finding.main.site for moment in one)), [])
    index = next((place for place, moment in enumerate(line) if _site(moment) == finding.main.site), 0)
    if not line:
        return "not tried across processes"
    left_out = len(set(_steps(recording, line).values())) > 1
    return f"not tried across processes; {_advice(line[index].first, line[index - 1] if index else None, left_out=left_out)}"


def _advice(state: ReplicaState, before: Moment | None, *, left_out: bool) -> str:  # noqa: PLR0911 - one cause a line
    if before is None:
        if not state.wrapped:
            return "for p in model.parameters(): torch.distributed.broadcast(p.data, 0)  # before the first step"
        return "draw or load the weights before DistributedDataParallel(model), the same on every rank"
    if before.averaged or left_out:
        return "take every step on all ranks or on none, with the same settings"
    if not state.wrapped:
        return "average every gradient in each step, or wrap the model in DistributedDataParallel"
    if state.wrappers > 1 and state.wrappers > before.first.step:
        return "build DistributedDataParallel once, before the loop"
    if not state.called:
        return "call the wrapper, model(inputs), and keep model.module for saving"
    return "let the last backward pass before a step run outside no_sync(), and change gradients the same way on all ranks"
