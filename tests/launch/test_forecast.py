"""What a search says of its length."""

import pathlib
from types import SimpleNamespace

import numpy as np
import pytest

from bnao_jax.search import EVALUATE, PROPOSE, TRAIN
from configs import cifar, quickstart
from launch.config.plan import plan
from launch.search import forecast
from launch.search.forecast import SCORINGS, STEPS, Forecast


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(forecast.time, "monotonic", lambda: now[0])
    return now


def made(config, platform="cpu"):
    job = plan(config)
    space, pool = job.space(10), np.zeros((3, job.space(10).decisions.length), np.int32)
    state = SimpleNamespace(round=1, phase=TRAIN, population=SimpleNamespace(pool=pool))
    return SimpleNamespace(
        plan=job,
        folder=pathlib.Path("runs/cifar"),
        settings=job.settings,
        devices=[SimpleNamespace(platform=platform)],
        train_part=SimpleNamespace(examples=job.settings.data.train_examples),
        cost_of=lambda pool: space.cost(pool, job.form()[0]),
        progress=SimpleNamespace(
            search=state, supernet=SimpleNamespace(step=0), partial=np.zeros((2, 0))
        ),
    )


def test_the_plan_says_what_will_be_done_and_written():
    job = made(cifar.get_config())
    first, compared, final, files, note = Forecast(job).plan()
    assert first == "4 rounds: 140,600 steps of 64 images, 5,800 scorings on 5,000 images"
    baseline = job.settings.random_baseline
    assert compared.startswith(f"then {3 * baseline.networks} networks alone for {baseline.epochs}")
    top, epochs = job.settings.final.top, job.settings.final.epochs
    assert final == f"then the {top} best alone for {epochs} epochs each"
    assert files.startswith("writes result.json, ") and files.endswith(" into runs/cifar")
    assert "days; configs/quickstart.py and" in note


def test_only_a_cpu_that_takes_days_is_warned_of():
    for config, platform in ((cifar, "gpu"), (quickstart, "cpu")):
        assert not any(
            "note:" in line for line in Forecast(made(config.get_config(), platform)).plan()
        )


def test_what_is_left_follows_from_what_was_measured(clock):
    job = made(quickstart.get_config())
    seen = Forecast(job)
    assert seen.left() == ""
    clock[0] += 60  # it compiles
    seen.count(STEPS, 5)
    assert seen.left() == ""
    clock[0] += 10
    seen.count(STEPS, 100)  # a tenth of a second each
    job.progress.supernet.step = 105
    steps, scorings = 3 * seen.steps - 105, 100 + 140 + 180
    assert seen.images / (3 * 32) == pytest.approx(3.094, abs=1e-3)  # of a step, each scoring
    words = lambda seconds: (
        f"rounds end in about 0:{round(seconds) // 60:02}:{round(seconds) % 60:02}"
    )
    assert seen.left() == words(steps * 0.1 + scorings * 0.3094)
    job.progress.search.phase, job.progress.supernet.step = EVALUATE, 0
    clock[0] += 9
    seen.count(SCORINGS, 16)  # it compiles
    clock[0] += 8
    seen.count(SCORINGS, 16)  # half a second each
    job.progress.partial = np.zeros((2, 32))
    assert seen.left() == words(2 * seen.steps * 0.1 + (scorings - 32) * 0.5)
    job.progress.partial, job.progress.search.phase = np.zeros((2, 0)), PROPOSE
    assert seen.left() == words(2 * seen.steps * 0.1 + (140 + 180) * 0.5)
    job.progress.search.round, job.progress.search.phase = 3, PROPOSE
    assert seen.left() == words(0)
    job.progress.search.round = 4
    assert seen.left() == ""
