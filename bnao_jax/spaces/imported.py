"""Spaces that are code of the user's: a linen module with choices, named by where it stands.

`my_space.py:Net` is the class `Net` of a file, `package.module:Net` that of a module that Python
finds. To name it is to run it: a name that comes out of somebody else's folder is not followed.
"""

import ast
import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import pathlib
import sys
import traceback

import jax
import jax.numpy as jnp
from flax import linen as nn

from bnao_jax.choice import ChoiceError
from bnao_jax.settings import SettingError
from bnao_jax.spaces.module_space import ModuleSpace


def is_place(name) -> bool:
    """Whether a name is that of a place, FILE.py:CLASS or package.module:CLASS."""
    place, colon, kind = name.rpartition(":")
    return bool(place and colon and kind.isidentifier())


def fields_of(text) -> dict:
    """The fields that a text names as a call in Python does: `width=16, kinds=("a", "b")`.

    Lists become tuples: modules are hashable.

    Raises:
      ValueError: it is none.
    """
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError(text)
        fields = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
        if None in fields or len(fields) < len(call.keywords):
            raise ValueError(text)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        raise ValueError(f"{text[:60]!r} is not of the form 'width=16, depth=3'") from None
    return {name: _hashable(value) for name, value in fields.items()}


def _hashable(value):
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


@functools.lru_cache(maxsize=32)  # a plan makes its space wherever it needs it
def make(name, text, *, classes, image_shape, dtype, check=True) -> ModuleSpace:
    """The space of the module at a place.

    Args:
      name: of the place.
      text: the module's fields, see `fields_of`.
      classes: number of classes; a field `classes` of the module receives it.
      image_shape: (H, W, C).
      dtype: of maps and products; a field `dtype` of the module receives it.
      check: whether to trace a training step too: what fails there is said before any work.

    Raises:
      SettingError: the place holds no such module, or it knows no such field.
      ValueError: its choices cannot be, or it gives another number of logits.
    """
    kind = load(name)
    known = {field.name for field in dataclasses.fields(kind) if field.init} - {"parent", "name"}
    given = {n: v for n, v in {"classes": classes, "dtype": dtype}.items() if n in known}
    fields = fields_of(text)
    if unknown := fields.keys() - known:
        has = ", ".join(sorted(known)) or "none"
        raise SettingError(f"settings: {kind.__name__} has no field {min(unknown)!r}; it has {has}")
    try:
        space = ModuleSpace(kind(**given | fields), image_shape)
        made = space.classes
        if check:
            jax.eval_shape(functools.partial(_trained, space))
    except (ChoiceError, SettingError):
        raise
    except Exception as error:  # whatever the module raises
        raise SettingError(f"name={name!r}: {_where(error, name)}{_said(error)}") from None
    if made != classes:
        raise ValueError(
            f"{kind.__name__} gives {made} logits, and the images have {classes} classes; a field "
            "`classes` of the module receives their number"
        )
    return space


def _trained(space):
    """Shared weights and logits, as a training step traces them."""
    images = jnp.zeros((2, *space.image_shape))
    net, path = space.supernet(jnp.float32), jnp.zeros(space.decisions.length, jnp.int32)
    params = net.init(jax.random.key(0), images, path)["params"]
    rngs = {"dropout": jax.random.key(0)}
    return params, net.apply({"params": params}, images, path, train=True, rngs=rngs)


@functools.cache
def load(name) -> type[nn.Module]:
    """The class at a place; its code is run, once.

    Raises:
      SettingError: there is no such class, or its code fails.
    """
    place, _, kind = name.rpartition(":")
    what = f"name={name!r}"
    try:
        module = _file(place) if place.endswith(".py") else importlib.import_module(place)
    except FileNotFoundError as error:
        if error.filename is not None:
            raise SettingError(f"{what}: {_where(error, name)}{_said(error)}") from None
        raise SettingError(f"{what}: there is no file {place} in {pathlib.Path.cwd()}") from None
    except (Exception, SystemExit) as error:  # whatever the code raises
        raise SettingError(f"{what}: {_where(error, name)}{_said(error)}") from None
    found = getattr(module, kind, None)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        is_net = lambda v: isinstance(v, type) and issubclass(v, nn.Module)
        is_own = lambda v: is_net(v) and v.__module__ == module.__name__
        there = ", ".join(n for n, v in vars(module).items() if is_own(v)) or "none"
        raise SettingError(f"{what}: {place} has no flax.linen module {kind!r}; it has {there}")
    return found


def _file(place):
    """The module in a file."""
    path = pathlib.Path(place).expanduser().resolve()
    if not path.is_file():
        raise FileNotFoundError
    return _run(path)


@functools.cache
def _run(path):
    """The module in the file of a path, run once; what lies beside it can be imported."""
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _where(error, name):
    """Where in the user's file an error arose, "FILE, line N: "; "" if not there."""
    place = name.rpartition(":")[0]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    end = place if place.endswith(".py") else f"{place.replace('.', '/')}.py"
    lines = [frame.lineno for frame in frames if frame.filename.endswith(pathlib.Path(end).name)]
    return f"{end}, line {lines[-1]}: " if lines else ""


def _said(error):
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {' '.join(text.split())[:500]}"
