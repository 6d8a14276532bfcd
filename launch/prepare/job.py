"""The preparation of a data set: fetched if need be, read, and told of."""

from bnao_jax import data
from launch.config.plan import named
from launch.run.progress import fetching


def run(plan):
    """Fetches and reads the images of a plan; prints where they are and what they are."""
    settings = plan.settings.data
    with fetching(settings.name) as on_part:
        images = named("config.data", settings.load, on_part)
    if settings.streamed:
        train, other = len(images.train_ids), images.validation_part.examples
        parts = f"{train:,} images to train on, {other:,} to validate"
    else:
        parts = f"{len(images.train_ids):,} train images, {images.test_note}"
    height, width, channels = images.image_shape
    form = f"{height}x{width}x{channels}, {images.classes} classes"
    print(f"{settings.name}: {parts}; {form}; {data.place(settings.name, **settings.where)}")
