"""How long an architecture takes on the first device, as an entry of a table of latencies."""

import jax
import numpy as np

from bnao_jax.latency import measure


def measured(plan, space, image_shape, architecture, batches, repeats) -> list[dict]:
    """Latency of one architecture for each batch size, in seconds."""
    network = plan.network(space, architecture, plan.settings.standalone)
    device, latencies = jax.local_devices()[0], []
    for batch in batches:
        seconds = measure(network, image_shape, batch, repeats=repeats)
        latencies.append(
            {
                "batch": batch,
                "median": float(np.median(seconds)),
                "min": float(seconds.min()),
                "max": float(seconds.max()),
                "repeats": repeats,
                "device": f"{device.platform} {device.device_kind}",
                "dtype": plan.settings.network.dtype,
            }
        )
    return latencies
