"""Which images are used, how they are divided, and what happens to them."""

import dataclasses

import numpy as np

from bnao_jax import data
from bnao_jax.settings import (
    KEEP,
    SHARE,
    SWITCH,
    TEXT,
    SettingError,
    Settings,
    one_of,
    setting,
    whole,
)

WITH_PATH = {
    "arrays": "an .npz file of yours",
    "folder": "a folder with train/CLASS/*.jpg and val/CLASS/*.jpg",
}


@dataclasses.dataclass(frozen=True)
class ImageSettings(Settings):
    """What images in memory and streamed ones have in common."""

    name: str = setting("cifar10", one_of((*data.LOADERS, *data.STREAMED)), "the data set")
    data_dir: str = setting(
        "", TEXT, 'where TFDS has prepared it, or its archive is; "": TFDS\'s folder, a cache'
    )
    path: str = setting("", TEXT, "file of name=arrays, folder of name=folder")
    train_examples: int = setting(0, whole(0), "images to train on; 0: all but those held out")
    valid_examples: int = setting(5_000, whole(0), "images of the train split held out; 0: none")
    flip: bool = setting(True, SWITCH, "half of the images, left to right")

    @property
    def where(self):
        """Where the data set is read from; SettingError where it is not said."""
        if self.name in WITH_PATH and not self.path:
            raise SettingError(f"path is missing: name={self.name!r} is {WITH_PATH[self.name]}")
        return dict(data_dir=self.data_dir or None, path=self.path or None)

    def read(self, reader, *args, **kwargs):
        """What a reader of images gives; its error names the field where the user says the path."""
        try:
            return reader(*args, **kwargs)
        except data.DataError as error:
            if self.name not in WITH_PATH:
                raise
            raise SettingError(f"path: {error}") from None

    def held_out_ids(self):
        """Ids of the images that an official division validates on; None: it is drawn."""
        return None

    def parts(self, images, seed):
        """The train and the validation part of loaded images."""
        return data.split(
            images,
            self.valid_examples,
            seed=seed,
            limit=self.train_examples or None,
            valid_ids=self.held_out_ids(),
        )

    def noted_parts(self, images, seed) -> dict:
        """The train, valid and test part of loaded images, each with words of what it is."""
        train, valid = self.parts(images, seed)
        words = f"{valid.examples:,} images held out of the train split"
        return {
            "train": (train, f"{train.examples:,} images of the train split"),
            "valid": (valid, words),
            "test": (data.Images(images.test_images, images.test_labels), images.test_note),
        }

    def trained_on(self, images) -> int:
        """How many of loaded images are trained on."""
        ids, rest = self.held_out_ids(), len(images.train_ids) - self.valid_examples
        if ids is not None:
            rest = np.isin(images.train_ids, ids, invert=True).sum().item()
        return min(rest, self.train_examples) if self.train_examples else rest

    def check_loaded(self, images):
        """Raises SettingError where loaded images are too few."""
        total = len(images.train_ids)
        if self.valid_examples >= total:
            raise SettingError(
                f"valid_examples={self.valid_examples} leaves none of the {total} images to train "
                "on"
            )


@dataclasses.dataclass(frozen=True)
class DataSettings(ImageSettings):
    """Images that are held in memory."""

    split: str = setting(
        "random",
        one_of(("random", *data.SPLITS)),
        "which are held out: random, drawn by the seed; nasbench201: of that benchmark's half of"
        " cifar10",
    )
    shrink: int = setting(
        1, whole(1), "divides the images' sides: each pixel becomes the mean of a square"
    )
    pad: int = setting(4, whole(0), "pixels of black before a random crop")
    cutout: int = setting(0, whole(0), "side of the square cut out, pixels")

    streamed = False

    def __post_init__(self):
        super().__post_init__()
        if self.split != "random" and self.name != (fitting := data.SPLITS[self.split][0]):
            raise SettingError(
                f"split={self.split!r} divides {fitting}; config.data.name is {self.name!r}, which "
                "config.data.split='random' divides"
            )

    def load(self, on_part=None) -> data.ImageData:
        """The images; `on_part` hears how much is fetched, if they are."""
        images = self.read(data.load, self.name, **self.where, on_part=on_part)
        self._shrunk(images.image_shape)
        return data.shrink(images, self.shrink)

    def form(self):
        """(H, W, C) and the number of classes of the images that `load` would give."""
        shape, classes = self.read(data.form, self.name, path=self.where["path"])
        return self._shrunk(shape), classes

    def held_out_ids(self):
        return None if self.split == "random" else data.official_valid_ids(self.split)

    def augmentation(self, images) -> data.Augmentation:
        """What happens to training images."""
        colours = (tuple(float(v) for v in values) for values in (images.mean, images.std))
        return data.Augmentation(*colours, self.flip, self.pad, self.cutout)

    def check_form(self, image_shape):
        """Raises SettingError where images [H, W, C] are too small for what happens to them."""
        for name in ("pad", "cutout"):
            if (pixels := getattr(self, name)) > min(image_shape[:2]):
                raise SettingError(f"{name}={pixels} exceeds the sides of images {image_shape}")

    def check_loaded(self, images):
        if (ids := self.held_out_ids()) is not None:
            most = np.isin(images.train_ids, ids).sum()
            if self.valid_examples > most:
                raise SettingError(
                    f"valid_examples={self.valid_examples} exceeds the {most} images that "
                    f"config.data.split={self.split!r} validates on"
                )
        super().check_loaded(images)

    def _shrunk(self, image_shape):
        height, width, channels = image_shape
        factor = self.shrink
        if height % factor or width % factor:
            raise SettingError(f"shrink={factor} does not divide the sides of images {image_shape}")
        return height // factor, width // factor, channels


@dataclasses.dataclass(frozen=True)
class StreamedSettings(ImageSettings):
    """Images that the host decodes while a network trains."""

    image_size: int = setting(
        224, whole(8, 2**14), "side of the images that the network sees, pixels"
    )
    least_area: float = setting(0.08, KEEP, "of a random crop, share of the image")
    jitter: float = setting(
        0.4, SHARE, "most change of brightness, contrast, saturation, as a share; 0: none"
    )
    centre: float = setting(
        0.875, KEEP, "side of the crop to evaluate with, share of the image's shorter side"
    )
    workers: int = setting(
        16, whole(0, 1_000), "processes of each host process that decode; 0: its own threads"
    )

    streamed = True

    def load(self, on_part=None) -> data.StreamedData:
        """The images, which stay where they are; nothing is fetched."""
        del on_part
        size = self.image_size
        return self.read(data.open_streamed, self.name, image_size=size, **self.where)

    def form(self):
        """(S, S, 3) and the number of classes of the images that `load` would give."""
        side = self.image_size
        if self.name in data.FORMS:
            return (side, side, 3), data.FORMS[self.name][1]
        return (side, side, 3), self.read(data.read_folder, self.where["path"]).classes

    def parts(self, images, seed):
        train, valid = super().parts(images, seed)
        return train, valid if self.valid_examples else images.validation_part

    def noted_parts(self, images, seed):
        train, valid = self.parts(images, seed)
        whole = images.validation_part
        words = f"all {whole.examples:,} images of the validation split"
        trained = train, f"{train.examples:,} images of the train split"
        if not self.valid_examples:
            nothing = whole._replace(rows=whole.rows[:0])
            return {"train": trained, "valid": (valid, words), "test": (nothing, "no test images")}
        held_out = f"{valid.examples:,} images held out of the train split"
        return {"train": trained, "valid": (valid, held_out), "test": (whole, words)}

    def augmentation(self, images) -> data.Augmentation:
        """What is left to do: the host has cropped and flipped."""
        colours = (tuple(float(v) for v in values) for values in (images.mean, images.std))
        return data.Augmentation(*colours, flip=False, pad=0)

    def random_crop(self) -> data.RandomCrop:
        """What happens to images that train."""
        return data.RandomCrop(self.image_size, self.least_area, self.flip, self.jitter)

    def centre_crop(self) -> data.CentreCrop:
        """What happens to images that are evaluated with."""
        return data.CentreCrop(self.image_size, self.centre)

    def check_form(self, image_shape):
        """Accepts every form: images are cropped to the size that is asked for."""
