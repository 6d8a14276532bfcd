"""The loss of training, and of what training begins with."""

import jax
import numpy as np
import optax


def cross_entropy(logits, labels, smoothing=0.0):
    """Mean cross entropy of logits [B, classes] against labels [B], smoothed."""
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), smoothing)
    return optax.softmax_cross_entropy(logits, targets).mean()


def zeros(shapes):
    """Host arrays of zeros for a tree of shapes and dtypes."""
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
