"""What a plan needs of a device's memory at the least, said before anything is allocated."""

import math

import jax

from bnao_jax import parallel
from launch.command import UsageError


def check(plan, space, image_shape):
    """Raises UsageError where a device has less memory than some fields ask for."""
    there = parallel.memory(jax.local_devices()[0])
    for names, least in needs(plan, space, image_shape).items():
        if least > there:
            raise UsageError(
                f"{names} needs at least {least / 1e9:,.1f} GB; there are {there / 1e9:,.1f} GB"
            )


def needs(plan, space, image_shape) -> dict[str, int]:
    """Least bytes on a device by the fields that ask for them; the programs take more."""
    settings, devices = plan.settings, len(plan.devices())
    side = lambda n: n if settings.network.stem == "cifar" else -(-n // 8)
    maps = 2 * side(image_shape[0]) * side(image_shape[1]) * space.channels  # bfloat16
    # weights, gradients and momentum, float32
    least = {"network with config.space and the classes of config.data": 12 * space.least_weights()}
    if not settings.data.streamed:
        least["data.valid_examples"] = settings.data.valid_examples * math.prod(image_shape)
    if settings.scoring is not None:
        scored = min(settings.scoring.batch_size, plan.scored_examples)
        least["scoring.batch_size"] = scored * maps
    for name, section in settings.trainings.items():
        if name in ("supernet", settings.standalone):
            least[f"{name}.batch_size"] = section.batch_size // devices * maps
    strategy = getattr(settings.search, "strategy", None)
    if strategy in ("nao", "bonas"):
        size = settings.search.population_size, space.decisions.length
        of_strategy = getattr(settings, strategy).least_bytes(*size)
        least |= {f"{strategy}.{name}": number for name, number in of_strategy.items()}
    return {f"config.{name}": number for name, number in least.items()}
