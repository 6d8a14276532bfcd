"""Accuracy of trained weights on a split, in detail."""

import dataclasses
import pathlib

import jax
import numpy as np

from bnao_jax import data
from bnao_jax.measures import as_json, measure
from bnao_jax.training.streamed import make_evaluate
from launch.command import UsageError
from launch.config.plan import read
from launch.inputs import architectures, trained
from launch.run import image_feeds, workdir
from launch.run.progress import fetching

BATCH, STORED = "batch", "stored"
AT_ONCE = 500  # images in memory


def evaluate(
    folder, *, checkpoint, split, statistics, batch_size, average, arch, data_dir, path, code=""
) -> dict:
    """What `launch.evaluate` prints; its flags are explained there."""
    folder = pathlib.Path(folder).expanduser()
    config = workdir.read_config(folder)
    plan = trained.allowed(read(config, "search", "rank", "study", "train"), code)
    moved = {name: at for name, at in (("data_dir", data_dir), ("path", path)) if at}
    plan = plan.replace(data=dataclasses.replace(plan.settings.data, **moved))
    settings = plan.settings
    if settings.job == "train":
        if arch is not None:
            raise UsageError(f"--arch: --workdir={folder} holds the network of one architecture")
        source = trained.load(folder, checkpoint, code)
        state = source.state if average else source.state._replace(average=())
        number, statistics = source.number, statistics or STORED
        apply = lambda images, given: source.network.apply(
            {"params": state.weights, "batch_stats": state.statistics}, images, given=given
        )
        text = settings.arch
    else:
        if statistics == STORED:
            raise UsageError("--statistics=stored: a supernet has none; the batch's own are used")
        if arch is None:
            raise UsageError(f"--arch is missing: --workdir={folder} holds the weights of many")
        text, statistics = architectures.named(plan, arch), BATCH
        apply, number = _shared(folder, plan, text)
    with fetching(settings.data.name) as on_part:
        images = settings.data.load(on_part)
    parts = settings.data.noted_parts(images, settings.seed)
    part, note = parts[split]
    if not part.examples:
        there = ", ".join(name for name, (part, _) in parts.items() if part.examples)
        raise UsageError(f"--split={split}: the data set or the job has only {there} images")
    mean, std = np.array(images.mean), np.array(images.std)
    logits = lambda batch: apply(data.normalise(batch, mean, std), statistics == STORED)
    if settings.data.streamed:
        batch_size = batch_size or settings.train.batch_size
        devices = plan.devices()
        measure_all = make_evaluate(lambda _, batch: logits(batch), images.classes, devices)
        with image_feeds.one_pass(settings, part, batch_size, devices) as (batches,):
            measures = measure_all((), batches)
    else:
        batch_size = min(batch_size or AT_ONCE, part.examples)
        measure_all = lambda *part: measure(logits, *part, batch_size, images.classes)
        measures = jax.jit(measure_all)(*part)
    return as_json(jax.tree.map(np.asarray, measures)) | {
        "arch": text,
        "split": split,
        "note": note,
        "statistics": statistics,
        "batch_size": batch_size,
        "checkpoint": number,
        "workdir": str(folder),
    }


def _shared(folder, plan, text):
    """`apply(images, given)` along a path of shared weights, and the number of the checkpoint."""
    checkpoint = trained.read_checkpoint(folder, trained.NEWEST)
    params = trained.part_of(checkpoint.arrays, "supernet/params/")
    if not params:
        raise UsageError(f"--workdir={folder}: its checkpoint holds no shared weights")
    image_shape, classes = plan.form()
    space = plan.space(classes, image_shape)
    path = tuple(space.decisions.parse(text).tolist())
    supernet = space.supernet(plan.settings.network.jax_dtype)
    apply = lambda params, images: supernet.apply({"params": params}, images, path)
    trained.check_fit(folder, lambda params: apply(params, np.zeros((1, *image_shape))), params)
    return lambda images, given: apply(params, images), checkpoint.number


def table(facts) -> str:
    """A measurement in readable lines."""
    lines = [
        f"{facts['arch']}",
        f"  {facts['note']}, {facts['statistics']} statistics, checkpoint {facts['checkpoint']}",
        f"  top-1 {facts['top1']:.4f}   top-5 {facts['top5']:.4f}   loss {facts['loss']:.4f}",
        "  top-1 of each class:",
    ]
    shares = ["-" if share is None else f"{share:.3f}" for share in facts["top1_of_class"]]
    for start in range(0, len(shares), 10):
        row = "".join(f"{share:>8}" for share in shares[start : start + 10])
        if row.strip(" -"):  # some of their images were measured
            lines.append(f"  {start:>6}:{row}")
    return "\n".join(lines)
