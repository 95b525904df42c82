"""PyTorch reference models, and the comparison of jaxvae with PyTorch.

Only `jaxvae.interop` imports torch too, where a file of weights needs it; it comes with the extra
`jaxvae[parity]`. Exported here are `compare` and what it returns; `python -m torch_parity` compares
the experiments.
"""

from typing import TYPE_CHECKING, Any

from jaxvae.checks import absent

if TYPE_CHECKING:
    from torch_parity.comparison import compare
    from torch_parity.difference import Comparison, Difference

__all__ = ["Comparison", "Difference", "compare"]

NO_TORCH = absent("torch_parity", "PyTorch", "jaxvae[parity]")


def __getattr__(name: str) -> Any:
    """Import torch only when a comparison is asked for."""
    if name == "compare":
        try:
            from torch_parity.comparison import compare
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise ImportError(str(NO_TORCH)) from error
        return compare
    if name in ("Comparison", "Difference"):
        from torch_parity import difference

        return getattr(difference, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
