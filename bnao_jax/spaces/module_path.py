"""A module with choices as this library calls supernets and networks alone, and its norms."""

import inspect

import jax
import jax.numpy as jnp
from flax import linen as nn

from bnao_jax.choice import ChoiceError, along
from bnao_jax.nn import layers
from bnao_jax.spaces.space import Space

STATISTICS = "batch_stats"


class Path(nn.Module):
    """A module with choices as this library calls supernets and networks.

    Attributes:
      space: `ModuleSpace` of the module.
      architecture: a tuple of D integers: the network of it alone; None: the supernet.
      dtype: of the images.
      axis_name: device axis of batch statistics, None for each device's own.
      heads: (name, value) of fields of the module that a network alone sets.
    """

    space: Space
    architecture: tuple[int, ...] | None
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None
    heads: tuple[tuple[str, float], ...] = ()

    @nn.compact
    def __call__(self, images, architecture=None, *, train=False, drop_path=None, given=False):
        """Returns logits float32[B, classes].

        Args:
          images: normalised images `[B, H, W, C]`.
          architecture: of a supernet: a tuple of D integers, or int32[D], possibly traced.
          train: passed to the module, where it takes it.
          drop_path: None.
          given: normalise with the statistics in "batch_stats" instead of the batch's own, which
            are written there where the collection is mutable.
        """
        if drop_path is not None:
            raise ValueError(f"{self.space.decisions.name} has no drop path")
        architecture = architecture if self.architecture is None else self.architecture
        self.space.decisions.check_known(architecture)
        module, places = self.space.module, self.space.places
        module = module.clone(**dict(self.heads)) if self.heads else module
        arguments = told(module, train)
        streams = {name: self.make_rng(name) for name in self.scope.rngs}
        with along(places, architecture), nn.intercept_methods(norms_of(given, self.axis_name)):
            if self.is_initializing():
                y, variables = module.init_with_output(streams, images, **arguments)
                for kind in {"params", STATISTICS} & set(variables):
                    self._put(kind, variables[kind])
                return y
            held = self.variables.get(STATISTICS, {}) if given else self._zeros()
            variables = {"params": self.variables["params"], STATISTICS: held}
            y, changed = module.apply(
                variables,
                images.astype(self.dtype),
                rngs=streams,
                mutable=[] if given else [STATISTICS],
                **arguments,
            )
        if not given and self.is_mutable_collection(STATISTICS):
            self._put(STATISTICS, changed.get(STATISTICS, {}))
        return y.astype(jnp.float32)

    def _put(self, kind, tree):
        for name, value in tree.items():
            self.put_variable(kind, name, value)

    def _zeros(self):
        shapes = self.space.statistics(self.architecture)
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)


def told(module, train) -> dict:
    """The argument `train`, for modules that take it."""
    takes = inspect.signature(type(module).__call__).parameters
    return {"train": train} if "train" in takes else {}


def norms_of(given, axis_name):
    """An interceptor that lets norms use given statistics, or record the batch's own.

    Norms are `nn.BatchNorm` and this library's `layers.Norm`. Each is called once: statistics of
    one call are not those of another.
    """
    within = []  # the norms that run alone, which are not to be intercepted again
    called = []  # the norms that have been, by their outermost scopes and paths

    def run(call, args, kwargs, context):
        norm = context.module
        is_flax = isinstance(norm, nn.BatchNorm)
        if within or not (is_flax or isinstance(norm, layers.Norm)):
            return call(*args, **kwargs)
        kwargs = dict(kwargs)
        x = args[0] if args else kwargs.pop("x")
        if norm.is_initializing():
            if not is_flax:  # which makes no room for them
                norm.put_variable(STATISTICS, "statistics", jnp.zeros((2, x.shape[0])))
            elif norm.use_running_average is None:
                kwargs["use_running_average"] = False
            return call(x, **kwargs)
        root, path = norm.scope.root, norm.scope.path
        if any(root is other and path == its for other, its in called):
            raise ChoiceError(
                f"the norm {'/'.join(norm.path)!r} is called twice: each call has statistics of "
                "its own, and needs a norm of its own"
            )
        called.append((root, path))
        within.append(norm)
        try:
            return normalised(norm, x, kwargs, is_flax)
        finally:
            within.pop()

    def normalised(norm, x, kwargs, is_flax):
        own = dict(use_running_average=None, momentum=0.0) if is_flax else {}
        alone = norm.copy(parent=None, axis_name=axis_name, **own)
        kinds = ("params", STATISTICS) if given else ("params",)
        variables = {kind: norm.variables[kind] for kind in kinds if kind in norm.variables}
        kwargs = kwargs | ({"use_running_average": given} if is_flax else {"given": given})
        y = alone.apply(variables, x, mutable=not given and [STATISTICS], **kwargs)
        if given:
            return y
        y, changed = y
        if norm.is_mutable_collection(STATISTICS):
            for name, value in changed[STATISTICS].items():
                norm.put_variable(STATISTICS, name, value)
        return y

    return run
