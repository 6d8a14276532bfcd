"""The picture of a training."""

import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure


def training(epochs):
    """Loss and accuracy over the epochs of a training.

    `epochs` is float64[E, 5]: epoch, training loss and accuracy, validation loss and accuracy (NaN
    where not evaluated).
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    number, evaluated = epochs[:, 0], np.isfinite(epochs[:, 3])
    for place, (name, unit, scale) in enumerate((("Loss", "nats", 1), ("Accuracy", "%", 100))):
        axes = figure.add_subplot(
            1, 2, place + 1, title=name, xlabel="epoch", ylabel=f"{name.lower()}, {unit}"
        )
        axes.grid(alpha=0.3)
        axes.plot(number, scale * epochs[:, 1 + place], label="training images, augmented")
        if evaluated.any():
            axes.plot(
                number[evaluated],
                scale * epochs[evaluated, 3 + place],
                marker="o",
                markersize=3,
                label="validation images",
            )
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        axes.legend()
    return figure
