"""Labelled images, in memory or streamed; loaders; what a compiled training step does with them."""

from bnao_jax.data.augmentation import Augmentation, augment, example_keys, normalise
from bnao_jax.data.batches import (
    batch_at,
    batch_indices,
    epoch_permutation,
    steps_per_epoch,
    training_batch,
)
from bnao_jax.data.crops import CentreCrop, RandomCrop
from bnao_jax.data.folders import read_folder
from bnao_jax.data.images import DataError, ImageData, Images, check_images, moments, shrink, split
from bnao_jax.data.loading import FORMS, LOADERS, STREAMED, form, load, open_streamed, place
from bnao_jax.data.photographs import StreamedData
from bnao_jax.data.published_splits import SPLITS, official_valid_ids

__all__ = [
    "FORMS",
    "LOADERS",
    "SPLITS",
    "STREAMED",
    "Augmentation",
    "CentreCrop",
    "DataError",
    "ImageData",
    "Images",
    "RandomCrop",
    "StreamedData",
    "augment",
    "batch_at",
    "batch_indices",
    "check_images",
    "epoch_permutation",
    "example_keys",
    "form",
    "load",
    "moments",
    "normalise",
    "official_valid_ids",
    "open_streamed",
    "place",
    "read_folder",
    "shrink",
    "split",
    "steps_per_epoch",
    "training_batch",
]
