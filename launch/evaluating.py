"""Accuracy of trained weights on a split, in detail."""

import pathlib

import jax
import numpy as np

from bnao_jax import data
from bnao_jax.evaluation import measure
from bnao_jax.streamed_training import make_evaluate
from launch import architectures, feeds, fields, trained, wiring, workdir
from launch.command import UsageError
from launch.spaces import SPACES
from launch.training import as_json

BATCH, STORED = "batch", "stored"
AT_ONCE = 500  # images in memory


def evaluate(
    folder, *, checkpoint, split, statistics, batch_size, average, arch, data_dir, path
) -> dict:
    """What `launch.evaluate` prints; its flags are explained there."""
    folder = pathlib.Path(folder).expanduser()
    config = workdir.read_config(folder)
    job = fields.job_of(config)
    fields.check_fields(config, job)
    config.data.update({k: v for k, v in (("data_dir", data_dir), ("path", path)) if v})
    if job == "train":
        if arch is not None:
            raise UsageError(f"--arch: --workdir={folder} holds the network of one architecture")
        known = trained.load(folder, checkpoint)
        state = known.state if average else known.state._replace(average=())
        number, statistics = known.number, statistics or STORED
        apply = lambda images, given: known.network.apply(
            {"params": state.weights, "batch_stats": state.statistics}, images, given=given
        )
        text = config.arch
    else:
        if statistics == STORED:
            raise UsageError("--statistics=stored: a supernet has none; the batch's own are used")
        if arch is None:
            raise UsageError(f"--arch is missing: --workdir={folder} holds the weights of many")
        text, statistics = architectures.named(config, arch), BATCH
        apply, number = _shared(folder, config, text)
    images = wiring.load_data(config)
    parts = wiring.noted_parts(config, images)
    part, note = parts[split]
    if not part.examples:
        there = ", ".join(name for name, (part, _) in parts.items() if part.examples)
        raise UsageError(f"--split={split}: the data set or the job has only {there} images")
    mean, std = np.array(images.mean), np.array(images.std)
    logits = lambda batch: apply(data.normalise(batch, mean, std), statistics == STORED)
    if wiring.is_streamed(config):
        batch_size = batch_size or config.train.batch_size
        devices = wiring.make_devices(config)
        measure_all = make_evaluate(lambda _, batch: logits(batch), images.classes, devices)
        with feeds.one_pass(config, part, batch_size, devices) as (batches,):
            found = measure_all((), batches)
    else:
        batch_size = min(batch_size or AT_ONCE, part.examples)
        measure_all = lambda *part: measure(logits, *part, batch_size, images.classes)
        found = jax.jit(measure_all)(*part)
    return as_json(jax.tree.map(np.asarray, found)) | {
        "arch": text,
        "split": split,
        "note": note,
        "statistics": statistics,
        "batch_size": batch_size,
        "checkpoint": number,
        "workdir": str(folder),
    }


def _shared(folder, config, text):
    """`apply(images, given)` along a path of shared weights, and the number of the checkpoint."""
    checkpoint = trained.read_checkpoint(folder, trained.NEWEST)
    params = trained.part_of(checkpoint.arrays, "supernet/params/")
    if not params:
        raise UsageError(f"--workdir={folder}: its checkpoint holds no shared weights")
    _, classes = wiring.form(config)
    outline = wiring.make_outline(config, classes)
    path = tuple(outline.space.parse(text).tolist())
    dtype = wiring.DTYPES[config.network.dtype]
    supernet = SPACES[config.space.name].supernet(outline, dtype)
    return lambda images, given: supernet.apply({"params": params}, images, path), checkpoint.number


def table(found) -> str:
    """A measurement in readable lines."""
    lines = [
        f"{found['arch']}",
        f"  {found['note']}, {found['statistics']} statistics, checkpoint {found['checkpoint']}",
        f"  top-1 {found['top1']:.4f}   top-5 {found['top5']:.4f}   loss {found['loss']:.4f}",
        "  top-1 of each class:",
    ]
    shares = ["-" if share is None else f"{share:.3f}" for share in found["top1_of_class"]]
    for start in range(0, len(shares), 10):
        row = "".join(f"{share:>8}" for share in shares[start : start + 10])
        if row.strip(" -"):  # some of their images were measured
            lines.append(f"  {start:>6}:{row}")
    return "\n".join(lines)
