from setuptools import find_packages, setup

STREAMING = ["grain>=0.2.18", "pillow"]
TFDS = ["tensorflow-datasets>=4.9.7", "array_record", "pillow"]

setup(
    name="bnao_jax",
    version="0.1.0",
    description="Balanced one-shot neural architecture search in JAX and Flax",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["bnao_jax*", "launch*", "configs*"]),
    package_data={
        "bnao_jax.data": ["digits.npz", "nasbench201_split.npz"],
        "launch.report": ["page.css", "page.jinja", "page.js"],
    },
    install_requires=[
        "absl-py",
        "filelock",
        "flatbuffers",
        "flax>=0.12",
        "grandalf",
        "jax>=0.10",
        "jinja2",
        "matplotlib",
        "ml_collections",
        "numpy",
        "optax>=0.2.5",
        "orbax-checkpoint>=0.11.20",
        "pooch",
        "requests",
        "rich",
        "safetensors",
        "scipy",
    ],
    extras_require={
        "cuda12": ["jax[cuda12]>=0.10"],
        "tpu": ["jax[tpu]>=0.10"],
        "tfds": TFDS,
        "imagenet": STREAMING,
        "tensorboard": ["tensorboardX"],
        "test": [
            *(*TFDS, *STREAMING, "tensorboardX", "html5lib", "hypothesis", "pytest"),
            *("pytest-xdist", "ruff", "scikit-learn", "setuptools", "wheel"),
        ],
    },
)
