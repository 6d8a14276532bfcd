"""Depthwise convolution and pooling of maps with the batch innermost.

Shapes: x `[C, H, W, B]`, depthwise kernel `[C, K, K]`, output `[C, ceil(H/stride), ceil(W/stride),
B]`. K is odd and the padding is `dilation * (K - 1) / 2` on each side.

Depthwise convolution has two forms, chosen by platform in `FORM_ON`: "shifted", a sum over shifted
copies with gradients that are such sums again, and "grouped", XLA's grouped convolution, which on
a CPU is tens of times slower. Pooling has the shifted form alone; XLA's gradients are scatters.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bnao_jax.nn.joint_sums import joint_sums

POOL = 3  # window of both poolings
# The choice for CPU was timed (README, performance), that for GPU was not. That for TPU follows the
# compiler's estimate of the forward and backward pass at training batches (8, 64; v5e).
FORM_ON = {"cpu": "shifted", "cuda": "shifted", "rocm": "shifted", "tpu": "grouped"}


def _pad(x, width, value=0.0):
    border = (width, width, 0)
    return lax.pad(x, jnp.asarray(value, x.dtype), ((0, 0, 0), border, border, (0, 0, 0)))


def windows(padded, kernel, stride, dilation, size):
    """The K*K shifted views `[C, *size, B]` of a padded image, row by row."""
    c, _, _, b = padded.shape
    h, w = size
    for i in range(0, kernel * dilation, dilation):
        for j in range(0, kernel * dilation, dilation):
            yield lax.slice(
                padded,
                (0, i, j, 0),
                (c, i + stride * (h - 1) + 1, j + stride * (w - 1) + 1, b),
                (1, stride, stride, 1),
            )


def _spread(g, kernel, stride, dilation, size, value=0.0):
    """Puts an output-sized array back on the input's grid, padded for the transposed shifts."""
    pad = dilation * (kernel - 1) // 2
    highs = [n - 1 + pad - stride * (m - 1) for n, m in zip(size, g.shape[1:3], strict=True)]
    spatial = tuple((pad, high, stride - 1) for high in highs)
    return lax.pad(g, jnp.asarray(value, g.dtype), ((0, 0, 0), *spatial, (0, 0, 0)))


def _apart(function, x):
    """`function(x)`, on a CPU compiled apart from what follows.

    XLA's CPU backend fuses the flattening in front of a matrix product into the loop over windows,
    which then divides to find each pixel's place and is three to four times slower (jax 0.10 to
    0.12). No fusion crosses the border of a conditional; this one is always true, which the
    compiler cannot know.
    """

    def conditional(x):
        bits = lax.bitcast_convert_type(x.ravel()[0].astype(jnp.float32), jnp.int32)
        none = lambda x: jnp.zeros(jax.eval_shape(function, x).shape, x.dtype)
        return lax.cond(lax.population_count(bits) <= 32, function, none, x)

    return lax.platform_dependent(x, cpu=conditional, default=function)


def output_size(size, stride):
    """Spatial output size of a padded operation: `ceil(size / stride)` for each axis."""
    return tuple(-(-n // stride) for n in size)


# A step holds dozens of equal convolutions; under jit each kind is traced and lowered once.
_traced_once = functools.partial(jax.jit, static_argnums=(0, 1, 2))


def _choose(forms, *args):
    """Calls the form of the platform that the program is compiled for."""
    per_platform = {platform: forms[name] for platform, name in FORM_ON.items()}
    return lax.platform_dependent(*args, **per_platform)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def depthwise(x, kernel, stride=1, dilation=1, rectify=False):
    """Depthwise convolution of x `[C, H, W, B]`, or of relu(x), with `[C, K, K]`."""
    settings = stride, dilation, rectify
    forms = {name: functools.partial(form, *settings) for name, (form, _) in FORMS.items()}
    return _choose(forms, x, kernel)


def _depthwise_fwd(x, kernel, stride, dilation, rectify):
    return depthwise(x, kernel, stride, dilation, rectify), (x, kernel)


def _depthwise_bwd(stride, dilation, rectify, saved, g):
    settings = stride, dilation, rectify
    forms = {name: functools.partial(form, *settings) for name, (_, form) in FORMS.items()}
    dx, d_kernel = _choose(forms, *saved, g)
    return jnp.where(saved[0] > 0, dx, 0) if rectify else dx, d_kernel


depthwise.defvjp(_depthwise_fwd, _depthwise_bwd)


def _sum(views):
    return functools.reduce(lax.add, views)


def _weighted(taps, views):
    """Sum of views `[C, H, W, B]` weighted by taps `[C, K*K]`."""
    # In `lax`: dozens of such sums are traced, and `jnp`'s operators take most of the time.
    columns = lax.split(taps, [1] * taps.shape[1], axis=1)
    spread = lambda column, view: lax.broadcast_in_dim(column, view.shape, (0, 1))
    weighted = (lax.mul(spread(*pair), pair[1]) for pair in zip(columns, views, strict=True))
    return _sum(weighted)


def _read(x, rectify):
    return jnp.maximum(x, 0) if rectify else x


@_traced_once
def _shifted(stride, dilation, rectify, x, kernel):
    k = kernel.shape[-1]
    size = output_size(x.shape[1:3], stride)
    taps = kernel.astype(x.dtype).reshape(-1, k * k)

    def weighted_sum(x):
        padded = _pad(_read(x, rectify), dilation * (k - 1) // 2)
        return _weighted(taps, windows(padded, k, stride, dilation, size))

    return _apart(weighted_sum, x)


@_traced_once
def _shifted_gradients(stride, dilation, rectify, x, kernel, g):
    """Gradients of what was read and of the kernel."""
    k, size = kernel.shape[-1], x.shape[1:3]
    taps = kernel.astype(g.dtype).reshape(-1, k * k)[:, ::-1]  # the transposed shifts run backwards

    def weighted_sum(g):
        return _weighted(taps, windows(_spread(g, k, stride, dilation, size), k, 1, dilation, size))

    padded = _pad(_read(x, rectify), dilation * (k - 1) // 2)
    views = windows(padded, k, stride, dilation, g.shape[1:3])
    d_kernel = joint_sums([lax.mul(v, g) for v in views])
    return _apart(weighted_sum, g), d_kernel.reshape(kernel.shape).astype(kernel.dtype)


def _convolution(stride, dilation, read, kernel):
    pad = dilation * (kernel.shape[-1] - 1) // 2
    return lax.conv_general_dilated(
        read,
        kernel.astype(read.dtype)[:, None],
        (stride, stride),
        [(pad, pad)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("CHWN", "OIHW", "CHWN"),
        feature_group_count=read.shape[0],
    )


@_traced_once
def _grouped(stride, dilation, rectify, x, kernel):
    return _convolution(stride, dilation, _read(x, rectify), kernel)


@_traced_once
def _grouped_gradients(stride, dilation, rectify, x, kernel, g):
    """Gradients of what was read and of the kernel."""
    convolve = functools.partial(_convolution, stride, dilation)
    return jax.vjp(convolve, _read(x, rectify), kernel)[1](g)


FORMS = {"shifted": (_shifted, _shifted_gradients), "grouped": (_grouped, _grouped_gradients)}


def _counts(size, stride):
    """How many pixels of each 3x3 window lie inside the image: `[1, H', W', 1]`."""
    lines = []
    for n in size:
        centres = np.arange(0, n, stride)
        lines.append(np.minimum(centres + 1, n - 1) - np.maximum(centres - 1, 0) + 1)
    return np.outer(*lines)[None, :, :, None]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def average_pool(x, stride=1):
    """3x3 average pooling; the padding does not count."""
    size = output_size(x.shape[1:3], stride)
    total = _sum(windows(_pad(x, 1), POOL, stride, 1, size))
    return total * jnp.asarray(1.0 / _counts(x.shape[1:3], stride), x.dtype)


def _average_bwd(stride, size, g):
    g = g * jnp.asarray(1.0 / _counts(size, stride), g.dtype)
    return (_sum(windows(_spread(g, POOL, stride, 1, size), POOL, 1, 1, size)),)


average_pool.defvjp(
    lambda x, stride: (average_pool(x, stride), _Size(x.shape[1:3])),
    lambda stride, size, g: _average_bwd(stride, size.value, g),
)


@jax.tree_util.register_static
class _Size:
    """A shape carried as a residual."""

    def __init__(self, value):
        self.value = tuple(value)

    def __eq__(self, other):
        return self.value == other.value

    def __hash__(self):
        return hash(self.value)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def max_pool(x, stride=1):
    """3x3 maximum pooling; of equal maxima in a window the first receives the gradient."""
    size = output_size(x.shape[1:3], stride)
    return functools.reduce(lax.max, windows(_pad(x, 1, -jnp.inf), POOL, stride, 1, size))


def _max_bwd(stride, x, g):
    size = x.shape[1:3]
    views = list(windows(_pad(x, 1, -jnp.inf), POOL, stride, 1, g.shape[1:3]))
    best, where = views[0], jnp.zeros(g.shape, jnp.int8)
    for n, view in enumerate(views[1:], 1):
        where = jnp.where(view > best, jnp.int8(n), where)
        best = jnp.maximum(view, best)
    gradients = windows(_spread(g, POOL, stride, 1, size), POOL, 1, 1, size)
    wheres = windows(_spread(where, POOL, stride, 1, size, -1), POOL, 1, 1, size)
    last = POOL * POOL - 1
    pairs = enumerate(zip(gradients, wheres, strict=True))
    return (sum(jnp.where(at == last - n, part, 0) for n, (part, at) in pairs),)


max_pool.defvjp(lambda x, stride: (max_pool(x, stride), x), _max_bwd)
