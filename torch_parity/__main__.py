"""`python -m torch_parity`: the experiments against PyTorch, as a table."""

import json
import multiprocessing
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Annotated

import tyro

from torch_parity import NO_TORCH

try:
    import torch  # noqa: F401
except ModuleNotFoundError:
    sys.exit(str(NO_TORCH))

from torch_parity.difference import Comparison
from torch_parity.recipes import RECIPES
from torch_parity.report import DTYPES, carried_out, compare_experiment, table
from torch_parity.variants.compare import compare_variant
from torch_parity.variants.recipes import FAMILIES, VARIANTS


def main(
    experiment: tuple[str, ...] = (),
    family: tuple[str, ...] = (),
    seed: int = 0,
    jobs: int = 1,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Compare the experiments with their PyTorch counterparts, in float64 and in float32, and the
    variants in float64.

    Columns are experiments, numbers are the largest differences relative to the largest entry, and
    `absolute` is the largest absolute one of the row. In float32 they are those from PyTorch in
    float64, and below ours stand those of PyTorch's own float32. The exit status is 1 when anything
    of ours differs by more than its tolerance.

    Args:
        experiment: Names of experiments, also of variants (iwae, not samples/iwae); by default all.
        family: The variants of these families (kl, samples, aggregated, discrete, others) instead.
        seed: Of the weights.
        jobs: How many processes share the comparisons.
        as_json: Print JSON.
    """
    everything = (*RECIPES, *VARIANTS)
    for name in experiment:
        if name not in everything:
            sys.exit(f"--experiment {name}: must be one of {', '.join(everything)}")
    for name in family:
        if name not in FAMILIES:
            sys.exit(f"--family {name}: must be one of {', '.join(FAMILIES)}")
    if jobs < 1:
        sys.exit(f"--jobs {jobs}: must be at least 1")
    of_families = [name for one in family for name in FAMILIES[one]]
    chosen = [*experiment, *of_families] or everything
    comparisons = [
        *(
            (dtype, name, partial(compare_experiment, name, dtype, seed))
            for dtype in DTYPES
            for name in chosen
            if name in RECIPES
        ),
        *(
            (f"{one}, float64", name, partial(compare_variant, name, seed))
            for one, variants in FAMILIES.items()
            for name in variants
            if name in chosen
        ),
    ]
    results: dict[str, list[Comparison]] = {}
    with ExitStack() as stack:
        found: Iterable[Comparison] = map(carried_out, comparisons)
        if jobs > 1:
            spawn = multiprocessing.get_context("spawn")  # JAX has threads, and cannot fork
            pool = stack.enter_context(ProcessPoolExecutor(jobs, spawn))
            found = pool.map(carried_out, comparisons)
        for (title, *_), comparison in zip(comparisons, found, strict=True):
            results.setdefault(title, []).append(comparison)
    if as_json:
        print(json.dumps({title: [c.as_dict() for c in cs] for title, cs in results.items()}))
    else:
        print("\n\n".join(f"{title}\n{table(cs)}" for title, cs in results.items()))
    sys.exit(0 if all(c.passed for cs in results.values() for c in cs) else 1)


if __name__ == "__main__":
    tyro.cli(main, prog="python -m torch_parity")
