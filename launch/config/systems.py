"""The systems of a comparison: each is a search, the config's with changes of its own.

`config.systems.NAME.SECTION.FIELD` is such a change. What a comparison needs is alike in all:
images, network, training steps, architectures, and how what was found is trained and judged.
"""

import dataclasses
import json
import re

from ml_collections import ConfigDict

from launch.command import UsageError

# What must be the same, by the words of the message.
ALIKE = {
    "config.data": lambda s: s.data,
    "config.space": lambda s: s.space,
    "config.network": lambda s: s.network,
    "config.random_baseline": lambda s: s.random_baseline,
    "config.supernet.batch_size": lambda s: s.supernet.batch_size,
    "epochs of the supernet, all rounds together": lambda s: (
        s.search.rounds_that_train * s.supernet.epochs
    ),
    "initial architectures (config.search.initial)": lambda s: s.search.initial,
    "architectures, all rounds together": lambda s: s.search.population_size,
    "images that score (config.scoring.images)": lambda s: s.scoring.images,
    "images that score first (config.scoring.first_images)": lambda s: s.scoring.first_images,
    **{
        f"config.search.{name}": lambda s, name=name: getattr(s.search, name)
        for name in ("max_params", "max_macs", "max_cost", "max_latency")
    },
}


def read(config, read_search) -> dict:
    """The systems of a config: `read_search(config of the search)` by name.

    Raises:
      UsageError: there are none, or a change cannot be.
    """
    systems = config.get("systems", None)
    if not isinstance(systems, ConfigDict) or len(systems) < 2:
        raise UsageError("config.systems: a comparison needs two systems, NAME.SECTION.FIELD=VALUE")
    searches = {}
    for name, changes in systems.items():
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,40}", str(name)):
            raise UsageError(f"config.systems.{str(name)[:50]!r}: a name is letters, digits and _")
        try:
            searches[name] = read_search(_search_of(config, changes))
        except (UsageError, TypeError, ValueError, LookupError, AttributeError) as error:
            raise UsageError(f"config.systems.{name}: {error}") from None
    return searches


def _search_of(config, changes):
    """The config of one system's search."""
    search = ConfigDict(config.to_dict())
    del search.systems, search.seeds, search.against
    search.job = "search"
    if not isinstance(changes, ConfigDict):
        raise UsageError("it holds sections with fields")
    for section, fields in changes.items():
        if section not in search or not isinstance(fields, ConfigDict):
            raise UsageError(f"{section}: there is no such section")
        for field, value in fields.items():
            if field not in search[section]:
                raise UsageError(f"config.{section}.{field}: there is no such field")
            with search.ignore_type():  # the settings check it
                search[section][field] = value
    return search


def check(plan):
    """Raises UsageError where the systems of a plan, if it has any, cannot be compared."""
    if not plan.systems:
        return
    if plan.settings.against not in plan.systems:
        raise UsageError(
            f"config.against={plan.settings.against!r} is not one of {list(plan.systems)}"
        )
    if plan.settings.random_baseline.networks < 1:
        raise UsageError(
            "config.random_baseline.networks=0: what systems find is compared by networks that are "
            "trained alone"
        )
    (first, one), *others = plan.systems.items()
    for name, other in plan.systems.items():
        try:
            other.check()
        except UsageError as error:
            raise UsageError(f"config.systems.{name}: {error}") from None
    for name, other in others:
        for what, value in ALIKE.items():
            a, b = value(one.settings), value(other.settings)
            if a != b:
                shown = f": {a} and {b}" if isinstance(a, int | float | None) else ""
                raise UsageError(
                    f"config.systems: {first} and {name} differ in {what}{shown}; a comparison is "
                    "fair where that is the same"
                )


def of_seed(plan, seed):
    """A search's plan with another seed, in the config that its folder receives too."""
    text = json.dumps(json.loads(plan.text) | {"seed": seed}, indent=2)
    return dataclasses.replace(plan.replace(seed=seed), text=text, systems={})
