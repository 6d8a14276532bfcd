"""TensorBoard's event files beside the metrics."""

import json
import struct
import sys

import pytest
from tensorboardX.proto.event_pb2 import Event
from tiny import tiny

from bnao_jax.metrics import MetricsWriter
from launch.command import UsageError
from launch.run.tensorboard import check_events, events_of


def scalars(folder):
    """{name: [(step, value), ...]} of the only event file, in the order written."""
    (path,) = folder.glob("events.out.tfevents.*")
    content, scalars = path.read_bytes(), {}
    while content:
        # The length of a record, its checksum, the record, its checksum.
        (size,) = struct.unpack("<Q", content[:8])
        event = Event.FromString(content[12 : 12 + size])
        content = content[16 + size :]
        for value in event.summary.value:
            scalars.setdefault(value.tag, []).append((event.step, round(value.simple_value, 6)))
    return scalars


def write(tmp_path, rows, position=0):
    """Writes rows as a job does; returns the position after each."""
    positions = []
    with events_of(tmp_path / "events", 0.0) as on_row:
        writer = MetricsWriter(tmp_path / "metrics.jsonl", position=position, on_row=on_row)
        for row in rows:
            writer.write(**row)
            positions.append(writer.position)
        writer.close()
    return positions


def train(number, step, loss):
    return {"phase": "train", "round": number, "step": step, "loss": loss}


FIRST = [train(1, 5, 2.0), train(1, 10, 1.5), {"phase": "round", "round": 1, "best": 0.5}]
SECOND = [train(2, 4, 1.25), train(2, 10, 1.0), {"phase": "round", "round": 2, "best": 0.75}]
LAST = [{"phase": "final", "accuracy": 0.5}, {"phase": "final", "accuracy": 0.25, "note": "text"}]
EXPECTED = {
    "train/loss": [(5, 2.0), (10, 1.5), (14, 1.25), (20, 1.0)],  # steps of rounds follow each other
    "round/best": [(1, 0.5), (2, 0.75)],
    "final/accuracy": [(1, 0.5), (2, 0.25)],
}


def test_the_figures_are_those_of_the_metrics(tmp_path):
    write(tmp_path, FIRST + SECOND + LAST)
    assert scalars(tmp_path / "events") == EXPECTED


def test_a_continued_job_has_every_step_once(tmp_path):
    position = write(tmp_path, [*FIRST, train(2, 4, 1.25), train(2, 7, 9.0)])[3]
    write(tmp_path, SECOND[1:] + LAST, position)  # the last row came after the checkpoint
    assert scalars(tmp_path / "events") == EXPECTED
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line).get("loss") for line in lines]
    assert losses == [2.0, 1.5, None, 1.25, 1.0, None, None, None]


def test_lists_and_what_is_not_finite_are_in_the_metrics_alone(tmp_path):
    write(tmp_path, [{"phase": "round", "round": 1, "best": float("nan"), "list": [0.5, 1e999]}])
    assert scalars(tmp_path / "events") == {}
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert row["best"] is None and row["list"] == [0.5, None]


def test_without_tensorboardx_it_says_what_is_missing(monkeypatch):
    config = tiny()
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    check_events(config)
    config.tensorboard = True
    with pytest.raises(UsageError, match="config.tensorboard=True needs tensorboardX"):
        check_events(config)
