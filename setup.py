"""Which folders are in a wheel; everything else is in pyproject.toml.

The experiments lie at the top of the repository, where they are read, and are installed inside the
package, as `jaxvae.experiments`. Tests are not installed: their folders have no `__init__.py`.
"""

from setuptools import find_namespace_packages, find_packages, setup

TOP = "experiments"

inner = [f".{name}" for name in find_namespace_packages(TOP, exclude=["*__pycache__*"])]
setup(
    packages=[
        *find_packages(include=["jaxvae*", "torch_parity*"]),
        *(f"jaxvae.{TOP}{name}" for name in ("", *inner)),
    ],
    package_dir={f"jaxvae.{TOP}": TOP},
)
