"""`python -m torch_parity`: the experiments against PyTorch, as a table."""

import json
import sys
from typing import Annotated

import tyro

from torch_parity.difference import Comparison
from torch_parity.recipes import RECIPES
from torch_parity.report import DTYPES, compare_experiment, table


def main(
    experiment: tuple[str, ...] = (),
    seed: int = 0,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Compare the experiments with their PyTorch counterparts, in float64 and in float32.

    Columns are experiments, numbers are the largest differences relative to the largest entry, and
    `absolute` is the largest absolute one of the row. In float32 they are those from PyTorch in
    float64, and below ours stand those of PyTorch's own float32. The exit status is 1 when anything
    of ours differs by more than its tolerance.

    Args:
        experiment: Names of experiments; by default all of them.
        seed: Of the weights.
        as_json: Print JSON.
    """
    for name in experiment:
        if name not in RECIPES:
            sys.exit(f"--experiment {name}: must be one of {', '.join(RECIPES)}")
    results: dict[str, list[Comparison]] = {}
    for dtype in DTYPES:
        results[dtype] = []
        for name in experiment or RECIPES:
            print(f"{dtype} {name}", file=sys.stderr)
            results[dtype].append(compare_experiment(name, dtype, seed))
    if as_json:
        print(json.dumps({dtype: [c.as_dict() for c in cs] for dtype, cs in results.items()}))
    else:
        print("\n\n".join(f"{dtype}\n{table(cs)}" for dtype, cs in results.items()))
    sys.exit(0 if all(c.passed for cs in results.values() for c in cs) else 1)


if __name__ == "__main__":
    tyro.cli(main, prog="python -m torch_parity")
