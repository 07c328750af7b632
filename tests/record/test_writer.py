"""A recording reaches the disk at once and stays small."""

from torchstone.core.events import LossComputed, RunStarted
from torchstone.core.place import Place
from torchstone.core.recording import FILE, read_recording
from torchstone.core.steps import StepTaken
from torchstone.record.writer import DETAIL_BYTES, Writer


def test_a_thousand_steps_stay_under_a_megabyte_whatever_the_detail(tmp_path):
    writer = Writer(tmp_path)
    writer.add(RunStarted("train.py"), always=True)
    for step in range(1000):
        for _ in range(20):
            writer.add(LossComputed("cross_entropy", step, place=Place("a/long/path/train.py", 123), rows=1000, nats=1.234567))
        writer.add_step(StepTaken(step, 0, 2.345678, 0.01 * step))
    writer.close()
    assert (tmp_path / FILE).stat().st_size < 1_000_000
    recording = read_recording(tmp_path)
    assert recording.steps == 1000
    assert writer.dropped > 0
    assert len(recording.of(LossComputed)) * 60 < DETAIL_BYTES


def test_what_was_written_is_there_without_closing(tmp_path):
    writer = Writer(tmp_path)
    writer.add(RunStarted("train.py"), always=True)
    for step in range(50):
        writer.add_step(StepTaken(step, 0, float("nan"), 0.05 * step))
    assert read_recording(tmp_path).steps >= 45


def test_a_full_disk_is_no_error(tmp_path, monkeypatch):
    import os

    writer = Writer(tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    writer.add(RunStarted("train.py"), always=True)
    writer.add_step(StepTaken(0))
    writer.close()
