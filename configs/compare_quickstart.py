"""Systems side by side on scanned digits: each with its own supernet, five seeds, in half an hour.

    python -m launch.compare --config=configs/compare_quickstart.py

All train as many steps, score as many architectures, begin a seed with the same random ones, and
train what they found alone, alike, to be judged on test images. "random" proposes at random and is
what the others are compared with. On other images or longer it is the same with a config of one's
own: any search config, and config.systems.NAME.SECTION.FIELD for what a system has of its own.

    --config.seeds=10
    --config.systems.balanced_nao.nao.parents=20
"""

from ml_collections import ConfigDict

from configs import quickstart


def get_config() -> ConfigDict:
    """The systems of this library on the data set of the quickstart."""
    config = quickstart.get_config()
    config.job = "systems"
    config.seeds, config.against = 5, "random"
    config.search.report = False
    config.random_baseline.random = False  # one of the systems is the random one
    config.systems = ConfigDict(
        {
            "balanced_nao": {"search": {"strategy": "nao"}},
            "nao_ws": {"search": {"strategy": "nao"}, "supernet": {"sampler": "uniform"}},
            # One supernet, trained before the search for as long as the others all together.
            "spos": {
                "search": {"strategy": "evolution", "trained_rounds": 1},
                "supernet": {"sampler": "uniform", "epochs": 540},
            },
            # New weights for the architectures of each round.
            "bonas": {
                "search": {"strategy": "bonas"},
                "supernet": {"sampler": "uniform", "from_scratch": True},
            },
            "random": {"search": {"strategy": "random"}},
        }
    )
    return config
