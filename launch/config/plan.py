"""A config, read once: `plan(config)` checks it and builds what a job is made of."""

import dataclasses
import functools

import jax
import numpy as np

from bnao_jax import cost, data, oneshot
from bnao_jax.data import ImageData, StreamedData
from bnao_jax.decisions import DRAWS_PER_ROUND
from bnao_jax.settings import SettingError
from bnao_jax.spaces import shipped
from bnao_jax.spaces.space import Space
from bnao_jax.strategies import shipped as strategies
from bnao_jax.strategies.strategy import Strategy
from bnao_jax.training.standalone import Standalone, make_standalone
from launch.command import UsageError
from launch.config import memory, schema, systems
from launch.config.schema import Config

IMAGES = (32, 32, 3)  # where a config has none


def plan(config, *jobs) -> "Plan":
    """The plan of a config, checked; needs neither images nor compiler.

    Args:
      config: ConfigDict.
      jobs: kinds of job that it may be for; none: any.

    Raises:
      UsageError: it names the first field that cannot be.
    """
    read_plan = read(config, *jobs, own=True)
    read_plan.check()
    systems.check(read_plan)
    return read_plan


def read(config, *jobs, own=False) -> "Plan":
    """The plan of a config whose fields are checked one by one alone: that of a job long done.

    `own`: whether the user has named it, and not a folder: then a space that is code is run.
    """
    settings, text = schema.read(config, *jobs), config.to_json_best_effort(indent=2)
    read_search, is_one = functools.partial(read, own=own), settings.job != "systems"
    searches = {} if is_one else systems.read(config, read_search)
    return Plan(settings, text, searches, settings.space.name if own else "")


def named(what, function, *args, **kwargs):
    """`function(*args)`; an error of bad input says what it was in.

    Where `what` is a section of the config, "config.NAME", and the error names its field, both are
    joined.
    """
    try:
        return function(*args, **kwargs)
    except SettingError as error:
        raise UsageError(f"{what}.{error}") from None
    except ValueError as error:
        raise UsageError(f"{what}: {error}") from None


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a job is to do: its settings, and what is built of them.

    Attributes:
      settings: all of them.
      text: the config as JSON, for others to read.
      systems: plans of the searches that are compared, by name.
      code: the place of the space that is code and may be run; see `shipped.make`.
    """

    settings: Config
    text: str
    systems: dict = dataclasses.field(default_factory=dict)
    code: str = ""

    def replace(self, **settings) -> "Plan":
        """The plan with other settings at the top, or other sections."""
        return dataclasses.replace(self, settings=dataclasses.replace(self.settings, **settings))

    @property
    def key(self):
        """The random key of the seed."""
        return jax.random.key(self.settings.seed)

    def space(self, classes=10, image_shape=None) -> Space:
        """The search space in a network for so many classes; ten where no images are read yet.

        A space that is a module needs the form of the images, which is read where it is not given.
        """
        settings, is_module = self.settings, self.settings.space.is_module
        if is_module and image_shape is None:
            image_shape = IMAGES
            if settings.data is not None:
                image_shape, classes = named("config.data", settings.data.form)
        size = settings.network, classes, image_shape
        try:
            return shipped.make(settings.space, *size, code=self.code)
        except SettingError as error:
            raise UsageError(f"config.{'space' if is_module else 'network'}.{error}") from None
        except ValueError as error:
            raise UsageError(f"config.network or config.space: {error}") from None

    def devices(self):
        """The devices to use: of every process the same number."""
        there = len(jax.local_devices())
        wanted = self.settings.devices or there
        if wanted > there:
            raise UsageError(f"config.devices={wanted}, but there are {there}")
        processes = range(jax.process_count())
        of_process = [jax.local_devices(process_index=n)[:wanted] for n in processes]
        devices = [device for local in of_process for device in local]
        for name, section in self.settings.trainings.items():
            if section.batch_size % len(devices):
                raise UsageError(
                    f"config.{name}.batch_size={section.batch_size} is not divisible by "
                    f"{len(devices)} devices"
                )
        return devices

    def form(self):
        """(H, W, C) and the number of classes of the images, read as little as can be."""
        shape, classes = named("config.data", self.settings.data.form)
        self.check_form(shape, classes)
        return shape, classes

    def load(self, on_part=None) -> ImageData | StreamedData:
        """The images, checked against the plan; `on_part` as in `bnao_jax.data.load`."""
        images = named("config.data", self.settings.data.load, on_part)
        self.check_images(images)
        return images

    def limit(self, space: Space, image_shape, latency_of=None):
        """`pool -> bool[P]`, or None without a limit; `latency_of(pool)` is in seconds."""
        search = self.settings.search
        return cost.limit(
            lambda pool: space.cost(pool, image_shape),
            max_params=search.max_params,
            max_macs=search.max_macs,
            max_cost=search.max_cost,
            own_cost_of=space.own_cost and (lambda pool: space.own_cost(pool, image_shape)),
            max_latency=None if latency_of is None else search.max_latency,
            latency_of=latency_of,
        )

    def strategy(self, space: Space, accept, name=None) -> Strategy:
        """The search strategy of that name, by default the config's."""
        name = self.settings.search.strategy if name is None else name
        capacity = self.settings.search.population_size
        return strategies.make(name, space, self.settings, capacity=capacity, accept=accept)

    def supernet(self, space: Space, images, devices, *, only=None) -> oneshot.Programs:
        """The programs that train and score shared weights; see `oneshot.make_programs`."""
        settings = self.settings
        augmentation = settings.data.augmentation(images)
        return oneshot.make_programs(
            space,
            settings.supernet,
            settings.scoring.scoring(settings.data.valid_examples, augmentation),
            augmentation=augmentation,
            examples=settings.data.trained_on(images),
            image_shape=images.image_shape,
            devices=devices,
            dtype=settings.network.jax_dtype,
            seed=settings.seed,
            only=only,
        )

    @property
    def scored_examples(self) -> int:
        """Validation images that score an architecture."""
        return self.settings.scoring.examples(self.settings.data.valid_examples)

    def network(self, space: Space, architecture, section=None):
        """The network of one architecture alone, with the heads of a section, if there is one."""
        architecture = tuple(int(choice) for choice in architecture)
        settings = getattr(self.settings, section) if section else None
        heads = {name: getattr(settings, name) for name in space.heads} if section else {}
        return space.network(architecture, dtype=self.settings.network.jax_dtype, **heads)

    def standalone(self, space: Space, images, architecture, key, devices) -> Standalone:
        """One architecture alone, ready to be trained; the key draws its weights."""
        settings, section = self.settings, self.settings.standalone
        return make_standalone(
            self.network(space, architecture, section),
            getattr(settings, section),
            settings.data.augmentation(images),
            examples=settings.data.trained_on(images),
            image_shape=images.image_shape,
            classes=space.classes,
            key=key,
            devices=devices,
            is_streamed=settings.data.streamed,
        )

    # What is checked.

    def check(self):
        """Raises UsageError naming the first field that cannot be."""
        settings, space = self.settings, self.space()
        if settings.search is not None:
            self._check_search(space)
        if settings.supernet is not None:
            named("config.supernet", settings.supernet.check_space, space)
            if settings.data.valid_examples < 1:
                raise UsageError(
                    "config.data.valid_examples must be at least 1: it scores architectures"
                )
            named("config.scoring", settings.scoring.check_parts, settings.data.valid_examples)
            if settings.scoring.dtype != "network" and settings.space.is_module:
                raise UsageError("config.scoring.dtype: the module computes in a type of its own")
        if section := settings.standalone:
            standalone = getattr(settings, section)
            named(f"config.{section}", standalone.check_space, space)
        if settings.data is not None:
            self.devices()
            if settings.data.name in data.FORMS:
                self.form()

    def _check_search(self, space):
        search, supernet = self.settings.search, self.settings.supernet
        if supernet is None:
            strategies, baseline = self.settings.comparison.strategies, 0
        else:
            strategies, baseline = (search.strategy,), self.settings.random_baseline.others
            named("config.search", search.check_supernet, supernet)
        named("config.search", search.check_space, space, baseline=baseline)
        if "nao" in strategies and search.rounds > 1:
            named("config.nao", self.settings.nao.check_pool, search.initial)

    def check_form(self, image_shape, classes):
        """Raises UsageError where the plan does not fit images [H, W, C] of so many classes."""
        if classes < 2:
            raise UsageError(
                f"config.data: the labels know {classes} class; a search needs at least 2"
            )
        named("config.data", self.settings.data.check_form, image_shape)
        space = self.space(classes, image_shape)
        memory.check(self, space, image_shape)
        supernet = self.settings.supernet
        if supernet is not None and supernet.sampler == "constrained":
            pool = np.asarray(space.decisions.random(self.key, DRAWS_PER_ROUND))
            costs = space.cost(pool, image_shape).macs
            named("config.supernet", supernet.check_intervals, costs)

    def check_images(self, images):
        """Raises UsageError where the plan does not fit loaded images."""
        settings = self.settings
        named("config.data", settings.data.check_loaded, images)
        self.check_form(images.image_shape, images.classes)
        examples = settings.data.trained_on(images)
        for name, section in settings.trainings.items():
            named(f"config.{name}", section.check_examples, examples)
        if settings.scoring is not None:
            named("config.scoring", settings.scoring.check_examples, examples)
        baseline = settings.random_baseline
        if baseline is not None and baseline.networks and not len(images.test_labels):
            raise UsageError(
                f"config.random_baseline.networks={baseline.networks}: networks are judged on test "
                "images, which the data has not; add test_images and test_labels to the file, or "
                "set it to 0"
            )
        section = settings.standalone
        auxiliary = bool(section) and getattr(settings, section).auxiliary
        space = self.space(images.classes, images.image_shape)
        named(
            f"config.{section or 'space'}",
            space.check_images,
            images.image_shape,
            auxiliary=auxiliary,
        )
