"""A recording survives JSON and a kill at any byte; what it cannot be read from is named by file and line."""

import dataclasses
import json
import math
import typing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torchstone.core.errors import RecordingError
from torchstone.core.events import EVENTS, CopiedToken, LossComputed, NonFiniteSeen, RunEnded, RunStarted
from torchstone.core.place import Place
from torchstone.core.recording import FILE, SCHEMA, Recording, decode, encode, read_recording
from torchstone.core.steps import GroupSeen, OptimizerSeen, ParametersExamined, StepTaken

# Floats are written to seven digits.
WRITTEN = 1e-6
# Faults of src that were reported; strict, so that the mark must go with the repair.


def values(hint):
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if arguments:
        return st.one_of(*(values(argument) for argument in arguments))
    if dataclasses.is_dataclass(hint):
        return instances(hint)
    plain = {str: st.text(max_size=8), int: st.integers(), float: st.floats(), bool: st.booleans(), type(None): st.none()}
    return plain[hint]


def instances(kind):
    return st.builds(kind, **{name: values(hint) for name, hint in typing.get_type_hints(kind).items()})


def same(a, b):
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=WRITTEN)
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(same, a, b))
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("kind", EVENTS.values(), ids=EVENTS)
@settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_event_survives_a_line_of_strict_json(kind, data):
    event = data.draw(instances(kind))
    line = encode(event)
    assert "\n" not in line
    json.loads(line, parse_constant=pytest.fail)
    assert same(event, decode(line))
    assert encode(decode(line)) == line


def test_nan_and_infinities_survive_in_every_place_that_holds_a_float():
    for value in (math.nan, math.inf, -math.inf):
        assert same(value, decode(encode(NonFiniteSeen(0, "loss", value=value))).value)
        assert same(value, decode(encode(StepTaken(0, loss=value))).loss)
        assert same((None, value), decode(encode(ParametersExamined(0, gradient=(None, value)))).gradient)
        assert same(value, decode(encode(LossComputed("f", copied=CopiedToken(value, 1.0, 2)))).copied.logit)
        assert same(value, decode(encode(OptimizerSeen(0, "SGD", (GroupSeen(value),)))).groups[0].learning_rate)


def test_what_is_at_its_default_is_left_out_and_comes_back():
    assert json.loads(encode(StepTaken(3))) == {"event": "StepTaken", "step": 3}
    assert decode('{"event":"StepTaken","step":3}') == StepTaken(3)
    assert decode('{"event":"RunStarted","script":"a"}').step_limit is None


def test_an_unknown_event_is_none_and_an_unknown_field_is_ignored():
    assert decode('{"event":"FromTheFuture","step":3}') is None
    assert decode('{"event":"StepTaken","step":3,"mood":"good"}') == StepTaken(3)


EVENTS_OF_A_RUN = (
    RunStarted("tränen/学習.py", ("--größe", "1"), step_limit=5),
    OptimizerSeen(0, "SGD", (GroupSeen(0.1, 0.0, (0, 1)),), Place("学習.py", 3)),
    LossComputed("cross_entropy", nats=math.inf, copied=CopiedToken(1.5, 2.5, 3, None)),
    StepTaken(1, loss=math.nan),
    RunEnded("finished", steps=1),
)


@pytest.fixture
def folder(tmp_path):
    def write(content):
        (tmp_path / FILE).write_bytes(content if isinstance(content, bytes) else "".join(f"{line}\n" for line in content).encode())
        return tmp_path

    return write


def test_a_whole_recording_reads_as_it_was(folder):
    recording = Recording(EVENTS_OF_A_RUN)
    again = read_recording(folder(recording.lines()))
    assert same(recording.events, again.events)
    assert again.complete
    assert again.steps == 1
    assert again.started.arguments == ("--größe", "1")
    assert again.ended == RunEnded("finished", steps=1)


def test_a_kill_at_any_byte_costs_the_last_line_at_most(folder):
    lines = [line.encode() for line in Recording(EVENTS_OF_A_RUN).lines()]
    whole = b"\n".join(lines) + b"\n"
    ends = [sum(map(len, lines[: n + 1])) + n for n in range(len(lines))]
    for cut in range(len(whole) + 1):
        left = sum(end <= cut for end in ends)
        if not left:
            with pytest.raises(RecordingError, match="does not begin like a torchstone recording"):
                read_recording(folder(whole[:cut]))
            continue
        read = read_recording(folder(whole[:cut]))
        assert same(EVENTS_OF_A_RUN[:left], read.events), cut
        assert read.complete == (left == len(lines))


@pytest.mark.parametrize("bad", ["", "{", "nonsense", "null", "[]", "5", "{}", '{"event":"StepTaken"}', '{"event":[]}', '{"event":"Lo'])
@pytest.mark.parametrize("number", [2, 3, 4])
def test_a_broken_line_in_the_middle_is_named(folder, bad, number):
    lines = Recording(EVENTS_OF_A_RUN).lines()
    lines[number - 1] = bad
    with pytest.raises(RecordingError) as refused:
        read_recording(folder(lines))
    said = str(refused.value)
    assert f"{FILE}, line {number}, is not an event of a torchstone recording (" in said
    assert said.endswith("); record again")


def test_a_newer_schema_is_refused(folder):
    with pytest.raises(RecordingError) as refused:
        read_recording(folder([encode(RunStarted("a.py", schema=SCHEMA + 1))]))
    assert str(refused.value).endswith(f"has schema {SCHEMA + 1}, this torchstone reads up to {SCHEMA}; upgrade torchstone")


def test_unknown_events_are_left_out_of_a_recording(folder):
    lines = [encode(RunStarted("a.py")), '{"event":"FromTheFuture","x":[1]}', encode(StepTaken(1))]
    assert read_recording(folder(lines)).events == (RunStarted("a.py"), StepTaken(1))


def test_a_folder_without_a_recording_is_named(tmp_path):
    with pytest.raises(RecordingError) as refused:
        read_recording(tmp_path / "nowhere")
    said = f"no recording can be read from {tmp_path / 'nowhere'}: No such file or directory; name a folder made with --record"
    assert str(refused.value) == said


@pytest.mark.parametrize("content", [b"", b"\n", b"\x00\xff\xfe", encode(StepTaken(1)).encode() + b"\n"])
def test_what_begins_without_a_header_is_no_recording(folder, content):
    with pytest.raises(RecordingError, match="does not begin like a torchstone recording; name a folder made with --record"):
        read_recording(folder(content))


def test_a_recording_without_events_answers_all_the_same():
    empty = Recording(())
    assert (empty.complete, empty.steps, empty.ended, empty.started.script) == (False, 0, None, "(unknown)")
    assert empty.of(StepTaken) == ()
    assert empty.first(StepTaken) is None


@pytest.mark.parametrize("sign", [*"\r\n\v\f\x1c\x1d\x1e", *(pytest.param(sign) for sign in "\x85\u2028\u2029")], ids=lambda sign: f"U+{ord(sign):04X}")
def test_what_other_programs_take_for_a_line_break_survives_a_recording(folder, sign):
    recording = Recording((RunStarted("a.py", (f"a{sign}b",)), StepTaken(1), RunEnded("finished")))
    assert read_recording(folder(recording.lines())) == recording


def test_an_argument_that_is_not_utf8_survives_a_recording(folder):
    recording = Recording((RunStarted("a.py", (b"a\xffb".decode(errors="surrogateescape"),)), StepTaken(1)))
    assert read_recording(folder(recording.lines())) == recording


def test_a_newer_schema_is_refused_before_its_lines_are_read(folder):
    lines = [encode(RunStarted("a.py", schema=SCHEMA + 1)), '{"event":"StepTaken","number":1}', encode(StepTaken(1))]
    with pytest.raises(RecordingError, match="upgrade torchstone"):
        read_recording(folder(lines))
