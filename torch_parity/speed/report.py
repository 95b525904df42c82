"""What the speed comparison found: numbers, verdicts, a table, a figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from jaxvae.figures.style import LABEL, WIDTH, plot_figure, style_axes

# Everybody starts from the same weights and sees the same batches; eps and dropout masks are
# everybody's own, which moves the mean loss of an epoch by about a percent, in short epochs most. A
# wrong reduction or learning rate moves it by more.
TOLERANCE = 0.05
TOLERANCES = {"aae": 0.15, "antixk_vae": 0.15}
"""Of models that noise moves more. The AAE's critic is part of its loss, which of other seeds ends
7 % apart (docs/variants.md). AntixK's network falls from 500 to 120 nats within the 32 steps of a
race with --quick, and of six seeds ends at 114 to 123, 8 % apart."""
NOISY = 1.5  # slowest / fastest round
NAMES = {
    "tutorial": "PyTorch, tutorial",
    "workers": "PyTorch, tutorial, 2 workers",
    "tuned": "PyTorch, tuned",
    "eager": "PyTorch, eager",
    "compiled": "PyTorch, compiled",
    "cuda_graph": "PyTorch, CUDA graph",
    "compiled cuda_graph": "PyTorch, compiled, CUDA graph",
    "streamed": "jaxvae, from PNG files",
    "step": "jaxvae, step by step",
    "against": "jaxvae, the other version",
    "loop": "jaxvae, compiled loop",
}
COLORS = {
    "tutorial": "0.75",
    "workers": "0.6",
    "tuned": "0.5",
    "eager": "0.8",
    "compiled": "0.65",
    "cuda_graph": "0.5",
    "compiled cuda_graph": "0.35",
    "streamed": "tab:blue",
    "step": "tab:orange",
    "against": "tab:purple",
    "loop": "tab:red",
}


class Target(NamedTuple):
    """What a CPU is expected to show at one batch size; speeds are those of the compiled loop."""

    batch_size: int
    tutorial: float | None
    """At least so many times as fast as a tutorial's PyTorch, where one is raced."""
    tuned: float
    """At least so many times as fast as tuned PyTorch."""
    limit: float | None = None
    """At least this share of what the machine could do."""
    streamed: float | None = None
    """From PNG files at least so many times as fast as a tutorial's PyTorch with workers."""
    mebibytes: float | None = None
    """At most so much memory of the process."""


@dataclass(frozen=True)
class Contestant:
    """One of `NAMES` in one comparison."""

    options: str
    """Those of tuned PyTorch that were the fastest of a row."""
    seconds: list[float]
    """Of an epoch, per round."""
    loss: float
    """Mean over the last epoch, in nats per image."""
    compile_seconds: float
    """By which the first epoch was longer: building the model, compiling, warming up."""
    peak_bytes: int
    """Of the process's resident memory."""
    device_bytes: int | None
    """Peak of a GPU's memory."""


@dataclass(frozen=True)
class Line:
    """One model at one batch size."""

    model: str
    title: str
    batch_size: int
    num_images: int
    """Per epoch."""
    contestants: dict[str, Contestant]
    """By keys of `NAMES`; `loop` is always there."""
    limit_seconds: list[float]
    """What the machine would need for the epoch's matrix products and Adam's memory traffic."""
    product_seconds: float
    """The products' part of it."""
    flops_per_second: float
    bytes_per_second: float
    rejected: dict[str, str]
    """Other options of tuned PyTorch: how long an epoch took with them, or why they failed."""
    populations: dict[int, Contestant]
    """By size: so many models trained by one program, each with its own seed."""
    target: Target | None
    """What is expected here."""

    def times_as_fast(self, as_what: str, name: str = "loop") -> float:
        """How many times as fast `name` is, by default the compiled loop: the median over the
        rounds."""
        pairs = zip(self.contestants[as_what].seconds, self.contestants[name].seconds, strict=True)
        return median(theirs / ours for theirs, ours in pairs)

    def population_gain(self, size: int) -> float:
        """How many times as fast as one model after another: the median over the rounds."""
        together = self.populations[size].seconds
        pairs = zip(self.contestants["loop"].seconds, together, strict=True)
        return median(size * alone / seconds for alone, seconds in pairs)

    def limit_share(self, name: str) -> float:
        """The share of the machine's limit that a contestant reaches: the median over the rounds.

        The limit is that of plain products by PyTorch; the share can come out above 1.
        """
        pairs = zip(self.limit_seconds, self.contestants[name].seconds, strict=True)
        return median(limit / seconds for limit, seconds in pairs)

    @property
    def loss_difference(self) -> float:
        """Between the largest and the smallest loss, relative; infinite where a loss is."""
        found = np.array([c.loss for c in self.contestants.values()])
        if not np.isfinite(found).all():
            return float("inf")
        return float(np.ptp(found) / np.abs(found).min())  # a loss may be negative

    @property
    def allowed(self) -> float:
        """The largest `loss_difference` that other noise explains."""
        return TOLERANCES.get(self.model, TOLERANCE)

    @property
    def losses_agree(self) -> bool:
        return self.loss_difference <= self.allowed

    @property
    def noisy(self) -> list[str]:
        """Contestants whose rounds differ by more than `NOISY`: something else ran meanwhile.

        That slows PyTorch more than XLA, since its threads wait for each other, spinning.
        """
        return [n for n, c in self.contestants.items() if max(c.seconds) > NOISY * min(c.seconds)]

    def verdicts(self) -> list[tuple[str, float, float]]:
        """(what, reached, wanted) of each target."""
        if self.target is None:
            return []
        found = [
            (f"times {NAMES[name]}", self.times_as_fast(name), wanted)
            for name, wanted in (("tutorial", self.target.tutorial), ("tuned", self.target.tuned))
            if wanted is not None
        ]
        if self.target.limit is not None:
            found.append(("of the estimated limit", self.limit_share("loop"), self.target.limit))
        if self.target.streamed is not None and "workers" in self.contestants:
            times = self.times_as_fast("workers", "streamed")
            found.append((f"times {NAMES['workers']}, from PNG files", times, self.target.streamed))
        if self.target.mebibytes is not None:
            share = self.target.mebibytes * 2**20 / self.contestants["loop"].peak_bytes
            found.append((f"times its memory fits {self.target.mebibytes:.0f} MiB", share, 1.0))
        return found

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "model": self.model,
            "title": self.title,
            "batch_size": self.batch_size,
            "images": self.num_images,
            "contestants": {
                name: {
                    **vars(contestant),
                    "median_seconds": median(contestant.seconds),
                    "loop_is_times_as_fast": self.times_as_fast(name),
                    "limit_share": self.limit_share(name),
                }
                for name, contestant in self.contestants.items()
            },
            "limit": {
                "seconds": self.limit_seconds,
                "product_seconds": self.product_seconds,
                "flops_per_second": self.flops_per_second,
                "bytes_per_second": self.bytes_per_second,
            },
            "rejected": self.rejected,
            "populations": {
                size: {**vars(contestant), "gain": self.population_gain(size)}
                for size, contestant in self.populations.items()
            },
            "loss_difference": self.loss_difference,
            "losses_agree": self.losses_agree,
            "noisy": self.noisy,
            "verdicts": [
                {"what": what, "reached": reached, "wanted": wanted, "met": reached >= wanted}
                for what, reached, wanted in self.verdicts()
            ],
        }


def table(line: Line) -> str:
    """A line's contestants, a row each, and what follows from them."""
    labels = {
        name: NAMES[name] + (f" ({c.options})" if c.options else "")
        for name, c in line.contestants.items()
    }
    width = max(37, 1 + max(map(len, labels.values())))
    fixed = f"{'':<{width}}{'seconds':>9}{'min - max':>18}{'images/s':>10}{'loss':>9}"
    rows = [
        f"{line.title} ({line.model}), batch {line.batch_size}, {line.num_images} images per epoch,"
        f" {len(line.limit_seconds)} rounds",
        f"{fixed}{'loop is':>9}{'of limit':>10}{'memory':>10}{'compile':>9}",
    ]
    for name, c in line.contestants.items():
        seconds = median(c.seconds)
        spread = f"{min(c.seconds):.3f} - {max(c.seconds):.3f}"
        ratio = f"{line.times_as_fast(name):.2f}x"
        rows.append(
            f"{labels[name]:<{width}}{seconds:9.3f}{spread:>18}"
            f"{line.num_images / seconds:10.0f}{c.loss:9.3f}{ratio:>9}"
            f"{line.limit_share(name):10.0%}{_memory(c):>10}{c.compile_seconds:7.1f} s"
        )
    products, limit = line.product_seconds, median(line.limit_seconds)
    rows.append(
        f"limit: {limit:.3f} s: matrix products {products:.3f} s at"
        f" {line.flops_per_second / 1e9:.0f} GFLOP/s, Adam's memory traffic"
        f" {limit - products:.3f} s at {line.bytes_per_second / 1e9:.0f} GB/s"
    )
    for name, why in line.rejected.items():
        way = name if name.startswith("tutorial") else f"tuned ({name})"
        rows.append(f"not taken: PyTorch, {way}: {why}")
    for size, c in line.populations.items():
        rows.append(
            f"population of {size}: {median(c.seconds) / size:.3f} s per model,"
            f" {line.population_gain(size):.2f}x one after another, {_memory(c)}"
        )
    agree = "agree" if line.losses_agree else "DO NOT AGREE"
    rows.append(f"losses {agree}: {line.loss_difference:.2%} apart (allowed: {line.allowed:.0%})")
    if line.noisy:
        rows.append(
            f"NOT TO BE QUOTED, the machine was busy: rounds differ by more than {NOISY}x in "
            + ", ".join(NAMES[name] for name in line.noisy)
        )
    for what, reached, wanted in line.verdicts():
        verdict = "met" if reached >= wanted else "NOT MET"
        rows.append(f"target {verdict}: {reached:.2f} {what} (wanted: {wanted:.2f})")
    return "\n".join(rows)


def _memory(contestant: Contestant) -> str:
    """A GPU's where there is one, else the process's."""
    in_device = contestant.device_bytes
    return f"{(contestant.peak_bytes if in_device is None else in_device) / 2**20:.0f} MiB"


def draw(lines: Sequence[Line], subtitle: str) -> Figure:
    """Images per second, a panel per model and a group of bars per batch size.

    Bars are medians, whiskers the slowest and the fastest round, dashes the estimated limit.
    """
    titles = list(dict.fromkeys(line.title for line in lines))
    columns = min(2, len(titles))
    panels = -(-len(titles) // columns)
    figure = plot_figure(WIDTH if columns > 1 else WIDTH / 2, 2.4 * panels + 0.7)
    figure.suptitle(f"Training speed, {subtitle}", fontsize=LABEL)
    all_axes = figure.subplots(panels, columns, squeeze=False).ravel()
    names = [name for name in NAMES if any(name in line.contestants for line in lines)]
    width = 0.8 / len(names)
    for axes, title in zip(all_axes, titles, strict=False):
        style_axes(axes, title, "batch size", "images per second")
        group = [line for line in lines if line.title == title]
        for position, line in enumerate(group):
            for name, c in line.contestants.items():
                speeds = sorted(line.num_images / seconds for seconds in c.seconds)
                middle = median(speeds)
                axes.bar(
                    position + (names.index(name) - (len(names) - 1) / 2) * width,
                    middle,
                    width,
                    yerr=[[middle - speeds[0]], [speeds[-1] - middle]],
                    color=COLORS[name],
                    error_kw={"linewidth": 0.8},
                    label=NAMES[name] if position == 0 else None,
                )
            axes.hlines(
                line.num_images / median(line.limit_seconds),
                position - 0.45,
                position + 0.45,
                color="black",
                linestyle="--",
                linewidth=0.8,
                label="estimated limit" if position == 0 else None,
            )
        axes.set_xticks(range(len(group)), [str(line.batch_size) for line in group])
        axes.set_ylim(bottom=0)
    for axes in all_axes[len(titles) :]:
        axes.set_axis_off()
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=3, fontsize=LABEL, frameon=False
    )
    return figure
