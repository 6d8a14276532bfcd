"""What all entry points share: flags, one-line errors, the compilation cache."""

import gc
import importlib
import io
import itertools
import os
import pathlib
import re
import sys
import traceback
import types
import warnings

from absl import flags, logging
from ml_collections import config_flags

from bnao_jax import files

ARGV = []  # the command line with its --flagfile read; `run` fills it before anything looks
CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Experiment, for example configs/cifar.py or configs/cifar.py:smoke. Any field can be changed: "
    "--config.search.rounds=2.",
    lock_config=True,
    sys_argv=ARGV,
)
EXAMPLES = {  # a config of each command
    "launch.search": "configs/quickstart.py",
    "launch.train": "configs/cifar_train.py",
    "launch.rank": "configs/rank_nasbench201.py",
    "launch.compare": "configs/compare_quickstart.py",
}
SHIPPED = pathlib.Path(__file__).parents[1] / "configs"
CLOSED = "standard output is closed; what was kept is kept, and the same command goes on"
LONGEST = 2_000  # characters of an error
LARGEST = 2**27  # bytes of a file of lines: a million architectures and more
# Python's cycle collector every so many new objects: at its 700 it takes a fifth of the tracing.
GARBAGE = (100_000, 10, 10)
_PREFIXES = (f"{CONFIG.name}.", f"no{CONFIG.name}.")


class UsageError(ValueError):
    """Input the user can mend; reported in one line."""


def run(main, usage, config=None):
    """Parses the flags, runs `main()`, and exits; bad input gives one line and exit status 2.

    Args:
      main: the command.
      usage: what --help prints.
      config: the shipped config that a command line without --config means; None: none.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a Windows code page lacks some characters
            stream.reconfigure(errors="replace")
    if _wants_help():
        show(usage)
        sys.exit(0)
    gc.set_threshold(*GARBAGE)
    logging.set_verbosity(logging.FATAL)  # what Orbax logs, it raises too
    sys.unraisablehook = _unraisable
    sys.path.insert(0, os.getcwd())  # configs import each other
    try:
        _parse(config)
    except Exception as error:  # absl, ml_collections and the config file itself all raise here
        _fail(_explained(error))
    try:
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        _fail("interrupted", status=130)
    except BrokenPipeError:
        _fail(CLOSED, status=1)
    except (ValueError, OSError, MemoryError, RuntimeError) as error:  # XLA's are the last
        if os.environ.get("BNAO_TRACEBACK"):
            traceback.print_exc()
        _fail(error)
    sys.exit(status)


def show(text):
    """Prints a text that nobody may want to the end, as under `| head`."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        pass
    except OSError as error:
        _fail(error)
    _silence()


def _unraisable(unraisable):
    """Says what Python cannot raise, but for TensorStore's reports to loops that Orbax closed."""
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def _wants_help():
    return any(word in ("--help", "-h", "-help", "--helpfull") for word in sys.argv[1:])


def _parse(config):
    """Sets the flags."""
    _check_text()
    ARGV[:] = flags.FLAGS.read_flags_from_files(sys.argv, force_gnu=False)
    _put_config_first(config)
    _check_names()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # of values that are no Python
        rest = flags.FLAGS(ARGV)
    if len(rest) > 1:
        raise UsageError(f"unexpected argument {rest[1]!r}; flags begin with --")


def _check_text():
    """What is not UTF-8 could not be printed at the end."""
    for word in sys.argv[1:]:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageError(f"argument {word!r} is not UTF-8") from None


def _assignments():
    """The (name, value) of every --name=value or --name value on the command line."""
    for word, after in itertools.pairwise([*ARGV[1:], ""]):
        if word.startswith("-"):
            name, equals, value = word.lstrip("-").partition("=")
            yield name, value if equals else after


def given_fields() -> set[str]:
    """The fields of the config that the command line sets: "space.nodes"."""
    names = (name for name, _ in _assignments() if name.startswith(_PREFIXES))
    return {name.partition(".")[2] for name in names}


def _check_names():
    for name, _ in _assignments():
        # ml_collections would follow names with underscores and brackets out of the config.
        if name.startswith(_PREFIXES) and not re.fullmatch(r"\w+(\.[^\W\d_]\w*)+", name):
            raise UsageError(f"{name}: the config has no such field")


def _put_config_first(default):
    """--config comes before the fields, which need it, and is the path of a file."""
    rest, values = ARGV[1:], []
    for place, (word, after) in enumerate(itertools.pairwise([*ARGV[1:], ""])):
        if re.fullmatch(r"--?config", word):
            values, rest[place : place + 2] = [after], [None, None]
        elif found := re.fullmatch(r"--?config=(.*)", word, re.DOTALL):
            values, rest[place] = [found[1]], None
    if not values and default:
        values = [default]
    if not values:
        if any(name.startswith(_PREFIXES) for name, _ in _assignments()):
            raise UsageError("--config is missing; a field is one of the config that it names")
        return
    file, colon, variant = values[0].partition(":")
    file = _file_of(file)
    _offer_configs(shipped=SHIPPED in pathlib.Path(file).resolve().parents)
    rest = [word for word in rest if word is not None]
    ARGV[1:] = [f"--{CONFIG.name}={file}{colon}{variant}", *rest]


def _file_of(name):
    """The path of a config: a file, or the name of a shipped one ("quickstart")."""
    if os.path.isfile(name):
        return name
    path = SHIPPED / f"{name.removeprefix('configs/').removesuffix('.py')}.py"
    if path.parent == SHIPPED and path.is_file():
        return str(path)
    names = sorted(path.stem for path in SHIPPED.glob("[a-z]*.py"))
    raise UsageError(f"--config={name}: there is no file {name}; shipped are {', '.join(names)}")


def _offer_configs(*, shipped):
    """`from configs import …` finds the shipped configs and those of a project's own `configs/`.

    `shipped`: whether the shipped come first.
    """
    try:
        package = importlib.import_module("configs")
    except ModuleNotFoundError:
        package = sys.modules["configs"] = types.ModuleType("configs")
        package.__path__ = []
    others = [path for path in package.__path__ if pathlib.Path(path).resolve() != SHIPPED]
    package.__path__ = [str(SHIPPED), *others] if shipped else [*others, str(SHIPPED)]


def _line_of(error):
    """Where in the config's file an error arose, "FILE, line N: "; "" if not there."""
    file = next((value.split(":")[0] for name, value in _assignments() if name == CONFIG.name), "")
    if isinstance(error, SyntaxError) and error.filename == file:
        return f"{file}, line {error.lineno}: "
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    frames += re.findall(r'File "(.*)", line (\d+)', str(error))  # ml_collections' own words
    lines = [line for name, line in frames if file and name == file]
    return f"{file}, line {lines[-1]}: " if lines else ""


def _explained(error):
    """What was wrong with the flags, in the user's terms."""
    text, line = str(error), _line_of(error)
    if line or isinstance(error, SyntaxError):
        text = error.msg if isinstance(error, SyntaxError) else text
        if absent := re.search(r'Key \\?"(\w+)\\?" does not exist', text):
            near = re.search(r'Did you mean \\?"(\w+)', text)
            near = f"; did you mean {near[1]!r}?" if near else ""
            return f"{line}there is no field {absent[1]!r}{near}"
        return line + (text.strip().splitlines()[-1] if "Traceback" in text else text)
    if "has no attribute 'get_config'" in text:
        return f"--config={ARGV[1].partition('=')[2]}: the file has no function get_config"
    if isinstance(error, KeyError | AttributeError):
        words = re.findall(r"\w+", text)
        near = re.search(r"mean\W+(\w+)", text)
        near = f"; did you mean {near[1]!r}?" if near else ""
        for name, _ in _assignments():
            if name.startswith(_PREFIXES) and set(words[:1]) & set(name.split(".")):
                return f"{name}: the config has no such field{near}"
    return text.rpartition("Error: ")[2] if "Traceback" in text else error


def _fail(error, status=2):
    _report(error)
    _silence()
    sys.exit(status)


def _silence():
    """Where standard output is closed, its end at the exit would be one more error."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def abandon(error, status=1):
    """Ends this process of several at once: an orderly end would wait for the others."""
    _report(error)
    sys.stdout.flush()
    os._exit(status)


def _report(error):
    text = " ".join(str(error).split()) or type(error).__name__
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    print(f"error: {text}", file=sys.stderr, flush=True)


def required(flag, example):
    """The value of a flag that must be given."""
    if flag.value is None:
        raise UsageError(f"--{flag.name} is missing; for example --{flag.name}={example}")
    return flag.value


def read_lines(flag):
    """The lines of the UTF-8 file that a flag names, "-" being standard input."""
    path, name = flag.value, flag.name
    try:
        if path != "-":
            return files.read_text(path, most=LARGEST).splitlines()
        text = sys.stdin.buffer.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise UsageError(f"--{name}={path} holds more than {LARGEST} bytes")
        return text.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise UsageError(f"--{name}={path} is not a text file") from None
    except OSError as error:
        raise UsageError(f"--{name}={path} cannot be read: {error.strerror}") from None


def enable_compilation_cache(folder):
    """Keeps compiled programs in a folder, so that the next start need not compile; "": not."""
    if not folder:
        return
    folder = os.path.expanduser(folder)
    if "://" not in folder:
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"config.compilation_cache={folder} cannot be made: {error.strerror}"
            ) from None
    import jax

    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
