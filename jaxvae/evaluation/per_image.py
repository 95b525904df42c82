"""The terms of every image: scores, by which those that a model does not expect stand out."""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxvae.atomic import atomic
from jaxvae.batch import Examples
from jaxvae.checks import UsageError
from jaxvae.data import Split
from jaxvae.evaluation.evaluate import counted_examples, padded_batches

RESERVED = ("index", "label", "name", "file", "allow_pickle")  # ours, and the arguments of np.savez

WORST = 5
"""Images that are named for their loss."""


class Scores(NamedTuple):
    """rows: what belongs to an image alone, each (n,), in nats but for `mse`.

    across: the means of what depends on the other images of a batch as well, so no image has it:
        over full batches alone, where there is one.
    """

    rows: dict[str, np.ndarray]
    across: dict[str, float]

    @property
    def number(self) -> int:
        """Over how many examples."""
        return len(self.rows["mse"])


def score(
    terms: Callable[..., dict[str, jax.Array]],
    variables: Any,
    split: Split,
    key: jax.Array,
    batch_size: int,
    across: bool = False,
) -> Scores:
    """The terms of each image of a split; the means of these rows are what `make_evaluate` returns.

    Which terms belong to an image alone is tried: those of the first image must stay what they are
    when all others of its batch are copies of it.

    Args:
        terms: of `make_batch_terms`, compiled.
        variables: of the model.
        split: its images, streamed or not, and their labels.
        key: the run's root key.
        batch_size: images at once.
        across: as for `make_evaluate`: whether the last, partial batch is left out.
    """
    n = counted_examples(len(split.images), batch_size, across)
    parts: list[dict[str, np.ndarray]] = []
    sizes: list[int] = []
    copied: dict[str, np.ndarray] = {}
    with contextlib.closing(padded_batches(split, n, batch_size)) as batches:
        for examples, counted in batches:
            if not parts:
                first = np.zeros(batch_size, int)
                copies = Examples(*(part[first] for part in examples))
                copied = jax.device_get(terms(variables, copies, key))
            found = jax.device_get(terms(variables, examples, key))
            parts.append({name: x if x.ndim == 0 else x[counted] for name, x in found.items()})
            sizes.append(int(counted.sum()))
    own = [name for name, x in parts[0].items() if x.ndim and _same(x[0], copied[name][0])]
    rows = {name: np.concatenate([part[name] for part in parts]) for name in own}
    means = {}
    for name in (name for name in parts[0] if name not in own):
        of_batches = [part[name].mean(dtype=np.float64) for part in parts]
        means[name] = float(np.average(of_batches, weights=sizes))
    return Scores(rows, means)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """But for rounding: row by row, a batch is computed alike whatever is in the other rows."""
    return bool(np.isclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True))


def worst(scores: Scores, split: Split) -> list[dict[str, Any]]:
    """The images of largest loss, the largest first: `index`, `loss`, `name` where it has one."""
    loss = scores.rows.get("loss", np.zeros(0))  # none where it depends on the other images
    found = []
    for i in np.argsort(-loss, kind="stable")[:WORST].tolist():
        name = {} if split.names is None else {"name": split.names[i]}
        found.append({"index": i, **name, "loss": float(loss[i])})
    return found


def refuse_path(path: Path) -> None:
    """Raise unless scores can be written to `path`: a UsageError, or a FileExistsError."""
    if path.suffix != ".npz":
        raise UsageError(f"--per-image = {str(path)!r}: must end in .npz")
    if path.exists():
        raise FileExistsError(f"{path}: exists; give another file")


def arrays(
    scores: Scores, of_groups: Mapping[str, np.ndarray], split: Split
) -> dict[str, np.ndarray]:
    """What each image has of its own, (n,) each: its `index` in the split, `label` (-1: none), the
    terms, rows of groups, and `name`, that of its file, where the source has names.

    Raises:
        UsageError: a row has the name of another array.
    """
    if both := scores.rows.keys() & of_groups.keys():
        raise UsageError(f"--per-image: {', '.join(sorted(both))}: a term and a group's row")
    rows = {**scores.rows, **of_groups}
    if taken := [name for name in rows if name in RESERVED]:
        raise UsageError(f"objective.terms: {taken[0]!r} cannot be written: another name is needed")
    n = min(len(row) for row in rows.values())
    cut = {name: row[:n] for name, row in rows.items()}
    found = {"index": np.arange(n, dtype=np.int32), "label": split.every_label[:n], **cut}
    if split.names is not None:
        found["name"] = np.array(split.names[:n])
    return found


def left_out(scores: Scores, number: int) -> list[str]:
    """What has no row, of so many images, in words."""
    found = []
    if rest := number - scores.number:
        last = "image, which fills" if rest == 1 else f"{rest} images, which fill"
        found.append(f"without the last {last} no batch")
    if scores.across:
        names = ", ".join(scores.across)
        found.append(f"without {names}, which depend on the other images of a batch")
    return found


def save(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Write `arrays` as an .npz.

    Raises:
        UsageError, FileExistsError: as `refuse_path`.
    """
    refuse_path(path)
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
