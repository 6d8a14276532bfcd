"""Scores of a pool by successive halving: all on few images, the promising ones on more.

Jamieson, Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", 2016,
https://arxiv.org/abs/1502.07943, with images in place of training steps.

Shapes: P architectures, G parts of equally many validation images.

>>> halving = Halving(4, 2)  # four architectures, two parts
>>> of_part = np.array([[0.1, 0.4], [0.2, 0.3], [0.3, 0.5], [0.4, 0.2]])
>>> for rows, part in halving.work():
...     print(part, rows)
...     halving.record(rows, part, np.stack([1 - of_part[rows, part], of_part[rows, part]]))
0 [0 1 2 3]
1 [0 1]
>>> [round(float(loss), 3) for loss in halving.scores()[1]]  # the others: .2 worse in part 1, too
[0.25, 0.25, 0.4, 0.5]
"""

import numpy as np

ACCURACY, LOSS = range(2)


class Halving:
    """What is to be scored next, and what is known so far.

    All P architectures are scored on the first part; the half with the lowest mean loss goes on to
    the second, half of it to the two after, and so on, until the last part. With one part all are
    scored on it.

    Args:
      count: P.
      parts: G.
    """

    def __init__(self, count, parts):
        self.count, self.parts = count, parts
        self.values = np.zeros((2, count, parts), np.float32)  # accuracies and losses
        self.seen = np.zeros(count, int)  # parts by which each is scored

    @property
    def size(self) -> int:
        """Scorings of an architecture on a part, in all."""
        total, rows, done = 0, self.count, 0
        for until in stages(self.parts):
            rows = kept(rows) if done else rows
            total, done = total + rows * (until - done), until
        return total

    def work(self):
        """Yields (rows int[n], ascending, and a part); each is to be recorded before the next."""
        rows, done = np.arange(self.count), 0
        for until in stages(self.parts):
            if done:
                losses = self.values[LOSS, rows, :done].mean(1)
                losses = np.where(np.isfinite(losses), losses, np.inf)
                rows = np.sort(rows[np.argsort(losses, kind="stable")[: kept(len(rows))]])
            for part in range(done, until):
                yield rows, part
            done = until

    def record(self, rows, part, measured):
        """Keeps accuracies and losses `measured` float32[2, n] of rows on a part."""
        self.values[:, rows, part] = measured
        self.seen[rows] = part + 1

    def scores(self):
        """Accuracies and losses float32[2, P] on all parts.

        Of an architecture that was not scored on a part, its mean on the parts before counts, with
        the mean difference between the two of those that were: parts differ in difficulty.
        """
        filled = self.values.copy()
        for seen in set(self.seen.tolist()) - {self.parts}:
            left = self.seen == seen
            for part in range(seen, self.parts):
                known = self.seen > part
                before = self.values[:, :, :seen].mean(2)
                change = self.values[:, known, part] - before[:, known]
                good = np.isfinite(change).all(0)
                shift = change[:, good].mean(1, keepdims=True) if good.any() else 0.0
                filled[:, left, part] = before[:, left] + shift
        return filled.mean(2)


def stages(parts):
    """The parts that a stage's architectures have been scored on: 1, 2, 4 and so on, at last G."""
    until = 1
    while until < parts:
        yield until
        until *= 2
    yield parts


def kept(count) -> int:
    """How many of a stage's architectures go on."""
    return -(-count // 2)
