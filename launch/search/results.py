"""What a search leaves behind: its files and a summary."""

from bnao_jax.objective import KINDS
from launch import words
from launch.run import machine, workdir


class Results:
    """Writes the files of a search; with `folder=None` it writes none.

    Args:
      folder: of the run.
      decisions: those of the space.
      cost_of: `pool -> Cost`.
    """

    def __init__(self, folder, decisions, cost_of):
        self._folder, self._decisions, self._cost_of = folder, decisions, cost_of

    def rows(self, pool, **columns):
        """One dict for each architecture: text form, cost, and further columns."""
        cost = self._cost_of(pool)
        return [
            {
                "arch": self._decisions.format(row),
                "params": int(cost.params[n]),
                "macs": int(cost.macs[n]),
            }
            | {name: values[n] for name, values in columns.items()}
            for n, row in enumerate(pool)
        ]

    def write_pool(self, population, **columns):
        """Writes pool.jsonl."""
        if self._folder is None:
            return
        rows = self.rows(
            population.pool,
            round=population.born.tolist(),
            **columns,
            times_trained=population.counts.tolist(),
        )
        workdir.write_pool(self._folder / workdir.POOL, rows)

    def write_baseline(self, pool, **columns):
        """Writes baseline.jsonl."""
        if self._folder is None:
            return
        workdir.write_pool(self._folder / workdir.BASELINE, self.rows(pool, **columns))

    def write_result(self, **result):
        """Writes result.json, with the versions of what ran, and prints the summary."""
        if self._folder is None:
            return
        result |= {"versions": machine.versions()}
        workdir.write_json(self._folder / workdir.RESULT, result)
        print(summary(result, self._folder))


def summary(result, folder) -> str:
    """The end of a search in a few readable lines."""
    kind = result["scored_by"]
    lines = ["", "Best architecture", *_about(result["best"][0], kind)]
    if "against_random" in result:
        lines += ["", *_compared(result)]
    elif "found" in result:
        lines += [
            "",
            "Found: {mean:.4f}, mean of {networks} trained alone".format(**result["found"]),
        ]
    return "\n".join([*lines, "", words.time_spent(result["seconds"]), f"Files: {folder}/"])


def _about(row, kind):
    yield f"  {row['arch']}"
    yield f"  {words.costs(row['params'], row['macs'])}"
    standalone = row.get("standalone_accuracy")
    trained = "" if standalone is None else f", trained alone {standalone:.4f}"
    if kind != "accuracy":
        yield f"  score, {KINDS[kind]}: {row['score']:.4f}"
    yield f"  validation accuracy: with shared weights {row['accuracy']:.4f}{trained}"


def _compared(result):
    """The fair comparison with random architectures, in words."""
    first = result["against_random"]
    yield (
        f"Found against random: {first['networks']} networks each, trained alone for "
        f"{first['epochs']} epochs, judged on {first['images']} test images"
    )
    for name, what in (
        ("against_random", "random"),
        ("against_random_of_same_size", "of the same size"),
    ):
        row = result[name]
        ends = (
            "" if row["low"] is None else f", 95 % interval {row['low']:+.4f} to {row['high']:+.4f}"
        )
        yield (
            f"  found {row['found']:.4f}, {what} {row['random']:.4f}: difference "
            f"{row['difference']:+.4f}{ends}: {row['verdict']}"
        )
