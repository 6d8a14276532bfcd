"""Which fields the config of each kind of job has; reading it into settings."""

import dataclasses
from typing import NamedTuple

from ml_collections import ConfigDict

from bnao_jax import data
from bnao_jax.data.settings import DataSettings, StreamedSettings
from bnao_jax.oneshot import SupernetSettings
from bnao_jax.ranking import RankSettings, StudySettings
from bnao_jax.scoring import ScoringSettings
from bnao_jax.search import BaselineSettings, ComparisonSettings, RoundsSettings, SearchSettings
from bnao_jax.settings import SWITCH, TEXT, SettingError, Settings, one_of, setting, shown, whole
from bnao_jax.spaces.shipped import NetworkSettings, SpaceSettings
from bnao_jax.strategies.bonas import BonasSettings
from bnao_jax.strategies.evolution import EvolutionSettings
from bnao_jax.strategies.nao import NaoSettings
from bnao_jax.training.recipe import FinalSettings, StreamedTrainSettings, TrainSettings
from launch.command import EXAMPLES, UsageError


class Job(NamedTuple):
    """A kind of job.

    Attributes:
      launcher: the command.
      sections: the sections of its config, with the settings of each.
      top: the fields outside of them.
      without: fields that it has not, though its sections have.
    """

    launcher: str
    sections: dict[str, type[Settings]]
    top: tuple[str, ...]
    without: tuple[str, ...] = ()


CHECKPOINTS = ("checkpoint_every_steps", "checkpoint_every_seconds")
RUN = ("job", "seed", "devices", "compilation_cache", *CHECKPOINTS, "tensorboard")
PLACE = {"data": DataSettings, "space": SpaceSettings, "network": NetworkSettings}
SHARED = PLACE | {"supernet": SupernetSettings, "scoring": ScoringSettings}
STREAMED = {"data": StreamedSettings, "train": StreamedTrainSettings}
LEARNING = {"nao": NaoSettings, "evolution": EvolutionSettings, "bonas": BonasSettings}
FINALS = {"final": FinalSettings, "random_baseline": BaselineSettings}
SEARCH = SHARED | {"search": SearchSettings} | LEARNING | FINALS
JOBS = {
    "search": Job("launch.search", SEARCH, RUN),
    "rank": Job("launch.rank", SHARED | {"rank": RankSettings}, (*RUN, "seeds", "truth")),
    "study": Job(
        "launch.rank",
        SHARED | {"study": StudySettings, "final": FinalSettings},
        (*RUN, "seeds", "truth"),
        # It has several of these, and trains all its architectures alone or none.
        without=("supernet.epochs", "supernet.sampler", "final.top"),
    ),
    "systems": Job("launch.compare", SEARCH, (*RUN, "seeds", "against")),
    "train": Job("launch.train", PLACE | {"train": TrainSettings}, (*RUN, "arch", "warm_start")),
    "comparison": Job(
        "launch.compare",
        {"space": SpaceSettings, "network": NetworkSettings}
        | {"comparison": ComparisonSettings, "search": RoundsSettings}
        | LEARNING,
        ("job", "seed", "compilation_cache", "seeds", "truth"),
    ),
}


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """All settings of a job; the sections that it has not are None."""

    job: str = setting("search", one_of(JOBS), "the kind of job")
    seed: int = setting(0, whole(0, 2**32 - 1), "of all random draws")  # NumPy's RandomState's
    devices: int = setting(0, whole(0), "devices of each process to use; 0: all")
    compilation_cache: str = setting(
        "~/.cache/bnao_jax", TEXT, 'folder of compiled programs; "": none'
    )
    checkpoint_every_steps: int = setting(2_000, whole(1), "training steps between two checkpoints")
    checkpoint_every_seconds: int = setting(600, whole(1), "the same for time, in every phase")
    tensorboard: bool = setting(
        False, SWITCH, "event files beside metrics.jsonl, with the same figures"
    )
    seeds: int = setting(3, whole(1, 100), "supernets or searches, from `seed` on")
    truth: str = setting(
        "", TEXT, 'file of known accuracies; "" in a study: they are trained alone'
    )
    against: str = setting("random", TEXT, "the system that the others are compared with")
    arch: str = setting("", TEXT, "the architecture; --arch sets it")
    warm_start: str = setting(
        "", TEXT, 'folder of a search whose shared weights it begins with; "": random'
    )
    data: DataSettings | StreamedSettings | None = None
    space: SpaceSettings | None = None
    network: NetworkSettings | None = None
    supernet: SupernetSettings | None = None
    scoring: ScoringSettings | None = None
    search: SearchSettings | RoundsSettings | None = None
    nao: NaoSettings | None = None
    evolution: EvolutionSettings | None = None
    bonas: BonasSettings | None = None
    final: FinalSettings | None = None
    random_baseline: BaselineSettings | None = None
    train: TrainSettings | None = None
    rank: RankSettings | None = None
    study: StudySettings | None = None
    comparison: ComparisonSettings | None = None

    @property
    def standalone(self) -> str | None:
        """The section that says how networks are trained alone; None if none are."""
        if self.train is not None:
            return "train"
        if self.study is not None:
            return None if self.truth else "final"
        return "final" if self.final is not None and self.final.top else None

    @property
    def trainings(self) -> dict:
        """The sections that train, by name."""
        return {n: s for n in ("supernet", "final", "train") if (s := getattr(self, n)) is not None}


TOP = {field.name: field for field in dataclasses.fields(Config) if "rule" in field.metadata}


def job_of(config) -> str:
    """The kind of job of a config; UsageError where it names none."""
    if not isinstance(config, ConfigDict):
        raise UsageError(f"--config: a {type(config).__name__} came of it, not a ConfigDict")
    if "job" not in config:
        raise UsageError(f"config.job is missing; it is one of {list(JOBS)}")
    if not TOP["job"].metadata["rule"].holds(config.job):
        raise UsageError(f"config.job={shown(config.job)} must be one of {list(JOBS)}")
    return config.job


def fields_of(job, sections=None) -> dict:
    """The dataclass fields of a kind of job by name, "section.field" or "field"."""
    sections = JOBS[job].sections if sections is None else sections
    fields = {n: TOP[n] for n in JOBS[job].top}
    for name, kind in sections.items():
        fields |= {f"{name}.{field.name}": field for field in dataclasses.fields(kind)}
    return {name: field for name, field in fields.items() if name not in JOBS[job].without}


def read(config, *jobs) -> Config:
    """The settings of a config.

    Args:
      config: ConfigDict.
      jobs: kinds of job that it may be for; none: any.

    Raises:
      UsageError: it names the first field that is absent, unknown or cannot be by itself.
    """
    name = job_of(config)
    if jobs and name not in jobs:
        wanted, given = dict.fromkeys(JOBS[job].launcher for job in jobs), JOBS[name].launcher
        examples = " or ".join(f"{wish}, as {EXAMPLES[wish]} is" for wish in wanted)
        raise UsageError(f"config.job={name!r}: the config is one for {given}, not for {examples}")
    values = {f: v for f, v in _fields(config) if name != "systems" or f[:8] != "systems."}
    sections = JOBS[name].sections | _data_of(config, name)
    fields = fields_of(name, sections)
    for field in values:
        if field not in fields:
            raise UsageError(f"config.{field}: there is no such field")
    for field in fields:
        if field not in values:
            raise UsageError(f"config.{field} is missing")
    sections = {name: _make(name, kind, values, fields) for name, kind in sections.items()}
    return _make("", Config, values, fields, **sections)


def _make(section, kind, values, fields, **others):
    """The settings of a section, or "" for those at the top."""
    start = f"{section}." if section else ""
    names = [name for name in fields if name.rpartition(".")[0] == section]
    try:
        return kind(**{name.removeprefix(start): values[name] for name in names}, **others)
    except SettingError as error:
        raise UsageError(f"config.{start}{error}") from None


def _data_of(config, job):
    """The settings of images that are streamed, where they are; UsageError where they cannot be."""
    section = config.get("data", None)
    name = section.get("name", None) if isinstance(section, ConfigDict) else None
    if "data" not in JOBS[job].sections or not isinstance(section, ConfigDict):
        return {}
    if name not in (*data.LOADERS, *data.STREAMED):  # which the rule of the field says
        return STREAMED if job == "train" and "image_size" in section else {}
    streamed = name in data.STREAMED
    if streamed and job != "train":
        raise UsageError(
            f"config.data.name={name!r}: images of that kind train one network, by launch.train "
            "with configs/imagenet_train.py"
        )
    if job == "train" and streamed != ("image_size" in section):
        fitting = "imagenet_train" if streamed else "cifar_train"
        raise UsageError(f"config.data.name={name!r} goes with configs/{fitting}.py")
    return STREAMED if streamed else {}


def _fields(config, prefix=""):
    """Yields (name, value) of every field, sections entered."""
    try:
        items = config.items()
    except TypeError:  # it sorts them
        raise UsageError(f"config.{prefix.rstrip('.')}: the name of a field is text") from None
    for key, value in items:
        if isinstance(value, ConfigDict):
            yield from _fields(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
