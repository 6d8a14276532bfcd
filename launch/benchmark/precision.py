"""What bfloat16 does to the order of scores, as a part of a benchmark."""

import dataclasses

import numpy as np

from bnao_jax import data
from bnao_jax.ranking import kendall_tau
from bnao_jax.training import supernet as supernet_training
from launch.run.progress import fetching


def precision(bench):
    """Kendall's tau between scores of one pool in float32 and in bfloat16; yields `Figure`s."""
    plan, space = bench.plan, bench.space
    settings = plan.settings
    with fetching(settings.data.name) as on_part:
        images = plan.load(on_part)
    train_part, valid_part = settings.data.parts(images, settings.seed)
    valid = tuple(part[: plan.scored_examples] for part in valid_part)
    calibration = train_part.images[: settings.scoring.calibration_images]
    pool = space.decisions.sample(plan.key, settings.search.initial)
    scores, params = {}, None
    for dtype in ("float32", "bfloat16"):
        network = dataclasses.replace(settings.network, dtype=dtype)
        programs = plan.replace(network=network).supernet(space, images, bench.devices)
        if params is None:
            params = space.initial_weights(plan.key, images.image_shape)
            params = _trained(bench, params, programs, train_part, pool)
        with bench.display.phase(f"score in {dtype}", len(pool), "architectures") as advance:
            count = lambda dispatch: advance(len(dispatch.loss))
            scores[dtype] = programs.evaluate(params, pool, valid, calibration, progress=count)
    full, half = scores.values()
    setting = dict(steps=programs.recipe.total_steps, architectures=len(pool), images=len(valid[1]))
    for field in ("accuracy", "loss"):
        tau = kendall_tau(getattr(full, field), getattr(half, field))
        yield bench.figure(f"bfloat16_tau_of_{field}", [tau], "tau b", **setting)
    change = [float(np.abs(full.accuracy - half.accuracy).max())]
    spread = round(float(np.std(full.accuracy)), 4)
    yield bench.figure("bfloat16_largest_change", change, "accuracy", spread=spread)


def _trained(bench, params, programs, train_part, pool):
    """The shared weights after one round of training."""
    material, recipe = bench.material(train_part, pool, programs), programs.recipe
    state = supernet_training.initial_state(recipe, params)
    per_epoch = data.steps_per_epoch(len(train_part.labels), recipe.batch_size)
    with bench.display.phase("train", recipe.total_steps, "steps") as advance:
        for _ in range(recipe.total_steps // per_epoch):
            state, report = programs.train(state, material, bench.plan.key, np.int32(per_epoch))
            advance(per_epoch, f"loss {float(report.loss):.3f}")
    return state.params
