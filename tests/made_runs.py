"""Folders of searches that nobody ran, for tests of what reads them."""

import json

import numpy as np
from tiny import tiny

from launch.config.plan import read

GROUPS = ("found", "random", "random of the same sizes")
AGAINST = {"found": 0.7, "random": 0.3, "difference": 0.4, "low": 0.2, "high": 0.6}
AGAINST |= {"verdict": "better", "networks": 3, "images": 297, "epochs": 2}


def make_run(folder, *, config=None, rounds=3, initial=30, proposals=12, finished=True, seed=0):
    """Writes what a search leaves; its scores grow from round to round. Returns the config.

    Scores other than accuracies are the accuracies minus 2.
    """
    draw, config = np.random.default_rng(seed), config or tiny()
    shift = 0.0 if config.scoring.score == "accuracy" else -2.0

    def measured(accuracy):
        return {"score": accuracy + shift, "accuracy": accuracy, "loss": 2 - accuracy}

    config.search.initial, config.search.rounds, config.search.proposals = (
        initial,
        rounds,
        proposals,
    )
    config.random_baseline.networks = 3
    job, size = read(config), initial + rounds * proposals + 9
    space = job.space()
    pool = np.asarray(space.decisions.random(job.key, size))
    cost = space.cost(pool, (8, 8, 1))
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"arch": space.decisions.format(row), "params": int(params), "macs": int(macs)}
        for row, params, macs in zip(pool, cost.params, cost.macs, strict=True)
    ]
    baseline, rows = rows[:9], rows[9:]
    for number, row in enumerate(baseline):
        accuracy = round(float(draw.uniform(0.1, 0.5)) + 0.4 * (number < 3), 4)
        row |= {"group": GROUPS[number // 3], "accuracy": accuracy, "judged": accuracy}
    rows, metrics, seconds = rows[: initial + (rounds - 1) * proposals], [], 0.0
    for number in range(1, rounds + 1):
        new = (
            rows[:initial]
            if number == 1
            else rows[initial:][(number - 2) * proposals :][:proposals]
        )
        sizes = np.array([row["params"] for row in new], float)
        counts = draw.multinomial(20 * len(new), sizes / sizes.sum())
        for row, count in zip(new, counts, strict=True):
            accuracy = round(float(draw.uniform(0.1, 0.4 + 0.5 * number / rounds)), 4)
            row |= {"round": number, **measured(accuracy), "times_trained": int(count)}
        for step in range(5, 101, 5):
            seconds += 0.5
            loss = {"step": step, "loss": 2.5 / number - step / 200, "learning_rate": 0.05}
            metrics.append({"seconds": seconds, "phase": "train", "round": number, **loss})
        metrics.append({"seconds": seconds, "phase": "round", "round": number, **_facts(draw, new)})
        if number == rounds:
            del metrics[-1]["decoded"]
    finals = [
        row | {"standalone_accuracy": accuracy}
        for row, accuracy in zip(
            sorted(rows, key=lambda row: -row["score"]), (0.8, 0.75), strict=False
        )
    ]
    parts = {"train": 30.0, "score": 5.0, "strategy": 2.0, "final": 4.0, "compilation": 9.0}
    result = {"best": finals, "seconds": parts}
    result["against_random"] = AGAINST
    result["against_random_of_same_size"] = AGAINST | {"low": -0.1, "verdict": "not shown"}
    result["scored_by"] = config.scoring.score
    machine = {"command": "python -m launch.search --config=configs/quickstart.py", "devices": 1}
    machine |= {"platform": "cpu", "device": "cpu", "versions": {"jax": "0.10.2"}}
    write_lines(folder / "pool.jsonl", rows)
    write_lines(folder / "metrics.jsonl", metrics)
    (folder / "config.json").write_text(config.to_json_best_effort())
    (folder / "machine.json").write_text(json.dumps(machine))
    if finished:
        write_lines(folder / "baseline.jsonl", baseline)
        (folder / "result.json").write_text(json.dumps(result))
    return config


def _facts(draw, new):
    scores = [row["score"] for row in new]
    predicted = [score + draw.normal(0, 0.05) for score in scores[:8]]
    ascent = {"decoded": 20, "decoded_new": 12, "decoded_repeated": 6, "decoded_beyond_limit": 2}
    ascent |= {"decoded_invalid": 0, "filled_at_random": 0, "largest_step_size": 2}
    accuracies = [row["accuracy"] for row in new]
    means = {"accuracy_of_best": max(accuracies), "mean_accuracy": float(np.mean(accuracies))}
    means |= {"best": max(scores), "mean": float(np.mean(scores))}
    means |= {"new_best": max(scores), "new_mean": float(np.mean(scores))}
    held_out = {"held_out_scores": scores[:8], "held_out_predicted": predicted}
    return means | held_out | {"held_out_pairwise_accuracy": 0.8} | ascent


def write_lines(path, rows):
    """Writes rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def read_lines(path):
    """The rows of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]
