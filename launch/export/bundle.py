"""A trained network's folder for others: architecture, weights, programs, how to use them."""

import pathlib

import flax
import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save

from bnao_jax import files
from bnao_jax.data import normalise
from bnao_jax.export import PLATFORMS, flat_weights, program
from bnao_jax.spaces.shipped import NetworkSettings, SpaceSettings, make
from launch.command import UsageError
from launch.inputs import trained
from launch.run import workdir

ANY = "any"
KNOWN_PLATFORMS = (*PLATFORMS, "rocm")
WEIGHTS, ARCHITECTURE, README = "weights.safetensors", "architecture.json", "README.md"


def export(folder, out, *, checkpoint, batch_sizes, platforms, average, code=""):
    """Writes what `launch.export` writes; its flags are explained there."""
    sizes = [_size(text) for text in batch_sizes] or [None]
    if unknown := [name for name in platforms if name not in KNOWN_PLATFORMS]:
        raise UsageError(f"--platforms={unknown[0]} is not one of {', '.join(KNOWN_PLATFORMS)}")
    out = pathlib.Path(out).expanduser()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out={out} is not an empty folder")
    source = trained.load(folder, checkpoint, code)
    weights = source.state.weights if average else source.state.params
    variables, facts = {"params": weights, "batch_stats": source.state.statistics}, source.facts
    network, _ = module(facts, code)
    variables = _used(network, variables, facts["image_shape"])
    whole = network, variables, facts["image_shape"], facts["mean"], facts["std"]
    programs = {size: _program(*whole, size, tuple(platforms)) for size in sizes}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for size, content in programs.items():
            (out / program_name(size)).write_bytes(content)
        (out / WEIGHTS).write_bytes(save(flat_weights(variables)))  # its own file would be 0600
        about = {"checkpoint": source.number, "platforms": list(platforms)}
        workdir.write_json(out / ARCHITECTURE, facts | about)
        first = program_name(None if None in sizes else sizes[0])
        files.write(out / README, _readme(facts, first, sizes, code))
    except OSError as error:
        raise UsageError(f"--out={out} cannot be written: {error}") from None
    for path in sorted(out.iterdir()):
        print(f"{path.stat().st_size:>12,} bytes  {path}")


def _program(network, variables, image_shape, mean, std, size, platforms):
    """The program for a batch size; UsageError where a module of the user's takes not any size."""
    of_all = image_shape, mean, std
    try:
        return program(network, variables, *of_all, batch=size, platforms=platforms)
    except Exception as error:
        if size is not None:
            raise
        raise UsageError(
            f"--batch_sizes={ANY}: the network does not take a batch of unknown size: "
            f"{str(error).splitlines()[0][:200]}; name the sizes: --batch_sizes=1,256"
        ) from None


def _used(network, variables, image_shape):
    """Those variables that the network has without what only its training needed."""
    images = jax.ShapeDtypeStruct((1, *image_shape), np.float32)
    init = lambda images: network.init(jax.random.key(0), images)
    needed = flax.traverse_util.flatten_dict(jax.eval_shape(init, images)["params"])
    params = flax.traverse_util.flatten_dict(variables["params"])
    kept = {name: leaf for name, leaf in params.items() if name in needed}
    modules = {name[0] for name in kept}
    statistics = {name: s for name, s in variables["batch_stats"].items() if name in modules}
    return {"params": flax.traverse_util.unflatten_dict(kept), "batch_stats": statistics}


def module(facts, code=""):
    """The linen module that architecture.json describes, and what normalises its images.

    `code`: the place of its space, where that is code; see `shipped.make`.
    """
    settings = NetworkSettings(**facts["network"])
    size = settings, facts["classes"], tuple(facts["image_shape"])
    space = make(SpaceSettings(**facts["space"]), *size, code=code)
    architecture = tuple(space.decisions.parse(facts["arch"]).tolist())
    network = space.network(architecture, settings.jax_dtype)
    mean, std = (np.array(facts[name], np.float32) for name in ("mean", "std"))
    return network, lambda images: normalise(jnp.asarray(images), mean, std)


def program_name(size) -> str:
    """The file of the program for a batch size, None being any."""
    return f"network_{ANY if size is None else size}.stablehlo"


def _size(text):
    if text == ANY:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) < 2**31):
        raise UsageError(f"--batch_sizes={text} is neither a batch size nor 'any'")
    return int(text)


def _readme(facts, name, sizes, code=""):
    height, width, channels = facts["image_shape"]
    batch = 2 if None in sizes else sizes[0]
    of_code = f", {code!r}" if code else ""
    prepared = f"An image is {facts['preparation']}.\n" if "preparation" in facts else ""
    return f"""# A network of {facts["params"]:,} parameters for {facts["classes"]} classes

Architecture: `{facts["arch"]}`

`{ARCHITECTURE}` says of which space, and its cost. The program normalises the images itself.
{prepared}With `pip install jax flatbuffers safetensors`:

```python
import jax, numpy as np, safetensors.numpy
weights = safetensors.numpy.load_file("{WEIGHTS}")
run = jax.export.deserialize(bytearray(open("{name}", "rb").read())).call
images = np.zeros(({batch}, {height}, {width}, {channels}), np.uint8)
print(run(weights, images))  # logits [{batch}, {facts["classes"]}]
```

With bnao_jax installed, the same weights in the module:

```python
import json, flax, safetensors.numpy
from launch.export import bundle
network, normalise = bundle.module(json.load(open("{ARCHITECTURE}")){of_code})
weights = safetensors.numpy.load_file("{WEIGHTS}")
variables = flax.traverse_util.unflatten_dict(weights, sep="/")
print(network.apply(variables, normalise(images), given=True))
```
"""
