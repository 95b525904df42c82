"""Which figure shows examples: pictures of images, curves of signals, and rows of a table.

Examples of another kind are not drawn: the figure is None.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure

from jaxvae import figures
from jaxvae.evaluation.ranges import Ranges
from jaxvae.evaluation.trained import Trained, is_images
from jaxvae.figures.style import latent_name, shortened, with_minus

NAME = 40
"""Letters of the names of two classes."""


def kind(trained: Trained) -> Literal["image", "signal", "row"] | None:
    """What the examples are: images, signals (length, channels), rows (features,), or others."""
    if is_images(trained):
        return "image"
    kinds: dict[int, Literal["row", "signal"]] = {1: "row", 2: "signal"}
    return kinds.get(len(trained.info.shape))


def columns(trained: Trained) -> tuple[str, ...]:
    """The names of a table's columns; 1, 2, ... where it has none; () of what is no table."""
    if kind(trained) != "row":
        return ()
    return trained.info.columns or tuple(str(i + 1) for i in range(trained.info.shape[0]))


def reconstructions(
    trained: Trained, originals: np.ndarray, decoded: np.ndarray, inputs: np.ndarray | None
) -> Figure | None:
    """Originals beside reconstructions (n, ...); of images also what the encoder saw, if given."""
    match kind(trained):
        case "image":
            return images(trained, figures.reconstructions, originals, decoded, inputs)
        case "signal":
            return figures.reconstruction_lines(originals, decoded)
        case "row":
            return figures.reconstruction_scatter(originals, decoded, columns(trained))
    return None


def samples(trained: Trained, decoded: np.ndarray) -> Figure | None:
    """Samples (n, ...): signals in a panel each, rows together in one."""
    match kind(trained):
        case "image":
            return images(trained, figures.samples, decoded)
        case "signal":
            return _lines(trained, decoded[:, None], (decoded, "samples"))
        case "row":
            title = f"{len(decoded)} samples from the prior"
            return _lines(trained, decoded[None], (decoded, "samples"), title=title)
    return None


def interpolations(
    trained: Trained, decoded: np.ndarray, originals: np.ndarray, names: list[tuple[str, bool]]
) -> Figure | None:
    """Walks (pairs, steps, ...) between `originals`, (pairs, 2, ...).

    The `names` are what each pair is, and whether that is more than their numbers.
    """
    if is_images(trained):
        says = [shortened(name, NAME) for name, _ in names] if all(n for _, n in names) else []
        return images(trained, partial(figures.interpolations, names=says), decoded, originals)
    return _lines(
        trained,
        decoded,
        (originals.reshape(-1, *originals.shape[2:]), "originals"),
        ends=originals,
        titles=[name for name, _ in names],
        colored=(np.linspace(0, 1, decoded.shape[1]), "position t between the two codes"),
        title="Interpolations",
    )


def traversals(
    trained: Trained, arrays: dict[str, np.ndarray], known: Ranges, originals: np.ndarray
) -> Figure | None:
    """Latents over what they take, as `pictures.traversals` has them.

    The `originals`, (n, ...), are examples to compare with.
    """
    dims, values, decoded = arrays["dims"].tolist(), arrays["values"], arrays["images"]
    unused = int((~known.used).sum()) if known.used.any() else 0
    part = f" {len(dims)} of" if len(dims) < len(known.used) else ""
    title = f"Latent traversals:{part} {_count(len(known.used), 'latent')}"
    if len(dims) > 1:
        title += f", by {'KL' if known.has_kl else 'standard deviation'}"
    title += f" ({unused} unused)" if unused else ""
    of = "the aggregated posterior" if known.has_kl else "the codes"
    label = f"value of the latent, from the 1st to the 99th percentile of {of}"
    names = [f"{latent_name(i + 1)}: {known.name(i)}" for i in dims]
    if is_images(trained):
        spans = [f"{row[0]:.1f} to {row[-1]:.1f}" for row in values]
        both = [f"{name}\n{with_minus(span)}" for name, span in zip(names, spans, strict=True)]
        ticks = ["1 %", *[""] * (values.shape[1] - 2), "99 %"][: values.shape[1]]
        draw = partial(figures.traversals, names=both, ticks=ticks, xlabel=label, title=title)
        unchanged = _visible(arrays["unchanged"][None])[0]
        return images(trained, partial(draw, unchanged=unchanged), decoded)
    return _lines(
        trained,
        decoded,
        (originals, "rows of the split"),
        titles=names,
        colored=(np.linspace(0, 1, values.shape[1]), f"{label} (0 to 1)"),
        title=title,
        base=arrays["unchanged"],
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def images(trained: Trained, figure: Callable[..., Figure], *arrays: Any) -> Figure | None:
    """The figure of some arrays, the channels that can be shown of those that hold images."""
    if not is_images(trained):
        return None
    shown = [_visible(a) if isinstance(a, np.ndarray) and a.ndim >= 4 else a for a in arrays]
    return figure(*shown)


def _visible(images: np.ndarray) -> np.ndarray:
    """The channels that a picture can show: grey, or the first three."""
    channels = images.shape[-1]
    return images[..., :3] if channels >= 3 else images[..., :1]


def _lines(
    trained: Trained,
    decoded: np.ndarray,
    reference: tuple[np.ndarray, str],
    ends: np.ndarray | None = None,
    base: np.ndarray | None = None,
    **draw: Any,
) -> Figure | None:
    """Panels of signals as they are, and of rows in standard deviations, since units differ.

    Mean and deviation of a column are those that the data were standardised with, else those of
    a `reference`, (n, features); the axis says which.
    """
    match kind(trained):
        case "signal":
            return figures.lines(decoded, ends=ends, base=base, **draw)
        case "row":
            center, scale = np.array(trained.info.center), np.array(trained.info.scale)
            rows, whose = reference[0], "training rows"
            if not center.size:
                known = np.ma.masked_invalid(rows.astype(np.float64))
                center, scale = (np.ma.filled(f(axis=0), np.nan) for f in (known.mean, known.std))
                whose = reference[1]
            scale = np.where(scale > 0, scale, 1.0)
            return figures.lines(
                (decoded - center) / scale,
                columns=columns(trained),
                ends=None if ends is None else (ends - center) / scale,
                base=None if base is None else (base - center) / scale,
                ylabel=f"standard deviations from the mean\n({whose})",
                **draw,
            )
    return None
