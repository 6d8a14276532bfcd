import gc
import os
import pathlib
from importlib.metadata import version

# Eight devices; programs of tests run once or twice, so compiling them fast is what counts.
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    " --xla_llvm_disable_expensive_passes=true --xla_cpu_parallel_codegen_split_count=1"
    # A third less compilation; later versions know no other way to write loops.
    + (" --xla_cpu_use_fusion_emitters=false" if version("jax")[:5] == "0.10." else "")
)
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import pytest

from bnao_jax.nn.operations import AVERAGE_POOL, IDENTITY, MAX_POOL, ZERO, dilated, separable
from bnao_jax.spaces.nao import outline as nao_space

jax.config.update("jax_numpy_rank_promotion", "raise")
gc.set_threshold(100_000, 10, 10)  # tracing makes many objects: the collector took a fifth of it

ROOT = pathlib.Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"

# One operation of each form: the programs of tests compile in seconds.
nao_space.OPERATIONS["tiny"] = (separable(3), MAX_POOL, IDENTITY)
nao_space.OPERATIONS["forms"] = (ZERO, IDENTITY, separable(3), dilated(3), AVERAGE_POOL, MAX_POOL)


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """The folder of compiled programs of the searches that tests start as programs."""
    own = tmp_path_factory.getbasetemp()
    among_workers = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    return among_workers / "compiled"


# The longest first: what comes last would leave one of two cores idle.
LONGEST = (
    *("test_processes", "test_resume", "test_nao_supernet", "test_benchmark", "test_supernet"),
    *("test_oneshot", "test_compare_systems", "test_examples"),
    *("test_strategies", "test_launch", "test_trained", "test_searching", "test_controller"),
    *("test_report", "test_nasbench201", "test_rank", "test_depthwise_and_pooling", "test_study"),
    *("test_data", "test_nao_network", "test_shufflenet", "test_fuzz", "test_nao_cost"),
)


def pytest_collection_modifyitems(items):
    """Puts the longest files first."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))
