"""What is there: versions, devices, and the settings that matter."""

import os
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

from jaxvae import __version__

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
VARIABLES = (
    "JAX_PLATFORMS",
    "JAX_NUM_CPU_DEVICES",
    "JAX_ENABLE_X64",
    "XLA_PYTHON_CLIENT_PREALLOCATE",
    "XLA_PYTHON_CLIENT_MEM_FRACTION",
    "NVIDIA_TF32_OVERRIDE",
)


def describe() -> dict[str, str]:
    """Name and value of each thing, in words."""
    settings: Any = jax.config
    found = {"versions": ", ".join([f"jaxvae {__version__}", *map(_installed, PACKAGES)])}
    found["backend"] = jax.default_backend()
    platform = " ".join(jax.devices()[0].client.platform_version.split())
    if jax.default_backend() != "cpu":
        found["platform"] = platform
    for device in jax.local_devices():
        found[f"device {device.id}"] = f"{device.device_kind}, {_memory(device)}"
    found["processes"] = str(jax.process_count())
    found["product precision"] = settings.jax_default_matmul_precision or "JAX's default"
    found["XLA_FLAGS"] = os.environ.get("XLA_FLAGS") or "none"
    if given := [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]:
        found["other variables"] = ", ".join(given)
    found["compilation cache"] = settings.jax_compilation_cache_dir or "none"
    free = shutil.disk_usage(Path.cwd()).free
    found["free disk"] = f"{free / 1e9:,.0f} GB here, where runs/ would be"
    return found


def _installed(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} (not installed)"


def _memory(device: jax.Device) -> str:
    """What the device may use; of a CPU, that of the machine."""
    limit = (device.memory_stats() or {}).get("bytes_limit")
    if limit is not None:
        return f"{limit / 1e9:,.1f} GB for JAX"
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{os.cpu_count()} cores, {physical / 1e9:,.1f} GB in the machine"
