"""Training on batches from the host is training on the same images in memory, bit for bit."""

import jax
import numpy as np
import pytest
import test_network as memory

from bnao_jax import data
from bnao_jax.training.network import make_logits
from bnao_jax.training.streamed import make_evaluate, make_train, placed


def batches(key, devices, steps=memory.STEPS):
    """What the host hands over: of every step the rows of each device."""
    for step in range(steps):
        rows = memory.batch(key, step).reshape(devices, -1)
        yield [(memory.IMAGES[own], memory.LABELS[own]) for own in rows]


def on_all(rows, devices):
    """The evaluation's batches of 16, filled up with the first images."""
    for start in range(0, len(rows), 16):
        own = np.arange(start, start + 16).reshape(devices, -1)
        pairs = zip(rows[own % len(rows)], own, strict=True)
        yield [(memory.IMAGES[a], memory.LABELS[a], n < len(rows)) for a, n in pairs]


def test_streamed_is_in_memory(key, devices=2):
    network, own = memory.Tiny(dropout=0.3), jax.local_devices()[:devices]
    expected = memory.run(memory.trainer(network, devices, randomness=True), network, key, (2, 4))
    train, state = make_train(network, memory.recipe(True), own), memory.start(network)
    stream = placed(batches(key, devices), own)
    for steps, (known, *means) in zip((2, 4), expected, strict=True):
        state, *found = train(state, stream, key, np.int32(steps))
        jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), known)
        np.testing.assert_allclose(found, means, rtol=1e-6)  # float64 and float32 sums of six
        state = jax.device_get(state)
    assert not list(stream) and len(train.program.programs) == 1


@pytest.mark.parametrize("devices, examples", [(1, 50), (2, 33)])
def test_streamed_evaluation_counts_each_image_once(devices, examples):
    network, state = memory.Tiny(), memory.start(memory.Tiny())
    state = state._replace(statistics={"norm": {"statistics": np.ones((2, memory.WIDTH), "f4")}})
    own, rows = jax.local_devices()[:devices], np.arange(examples)[::-1]
    logits = make_logits(network, memory.MEAN, memory.STD)
    evaluate = make_evaluate(logits, memory.CLASSES, own)
    found = evaluate(state, placed(on_all(rows, devices), own))
    scores, labels = np.asarray(logits(state, memory.IMAGES[rows])), memory.LABELS[rows]
    right = scores.argmax(1) == labels
    np.testing.assert_array_equal(found.images, np.bincount(labels, minlength=3))
    np.testing.assert_array_equal(found.right, np.bincount(labels[right], minlength=3))
    assert found.accuracy == pytest.approx(right.mean()) and found.top5 == 1
    losses = np.log(np.exp(scores).sum(1)) - scores[np.arange(examples), labels]
    assert found.loss == pytest.approx(losses.mean(), rel=1e-5)


def test_batches_are_put_on_the_devices_ahead(key):
    own, taken = jax.local_devices()[:2], []

    def watched():
        for step, batch in enumerate(batches(key, 2)):
            taken.append(step)
            yield batch

    stream = placed(watched(), own)
    for step in range(memory.STEPS):
        images, labels = next(stream)
        assert len(taken) == min(step + 3, memory.STEPS)  # two more than it has yielded
        assert images.shape == (2, 4, 4, 4, 2) and images.sharding.device_set == set(own)
        np.testing.assert_array_equal(
            np.concatenate(labels), memory.LABELS[memory.batch(key, step)]
        )


def test_a_batch_that_the_devices_do_not_divide():
    with pytest.raises(ValueError, match="batch size 8 is not divisible by 3 devices"):
        make_train(memory.Tiny(), memory.recipe(), jax.local_devices()[:3])
    assert data.steps_per_epoch(memory.EXAMPLES, memory.BATCH) == memory.STEPS
