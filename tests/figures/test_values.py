"""Lines of signals and of rows, and scatter plots of rows against their reconstructions."""

import numpy as np
import pytest
from matplotlib import colormaps

from jaxvae.figures import lines, reconstruction_lines, reconstruction_scatter
from tests.figures.pixels import of_the_edge, rendered

RNG = np.random.default_rng(0)
WALKS = RNG.normal(size=(6, 11, 40))
ENDS = WALKS[:, [0, -1]] + 0.5
T = np.linspace(0, 1, 11), "position t"
LONG = [f"mean measured concentration of substance {i}" for i in range(120)]


def texts(figure):
    """Every text of a figure that was drawn, with the box around it."""
    found = [figure._suptitle, figure._supxlabel, figure._supylabel]
    found += [text for legend in figure.legends for text in legend.get_texts()]
    for axes in figure.axes:
        found += [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]
        for axis in (axes.xaxis, axes.yaxis):
            # Ticks beyond the limits have labels that are not drawn.
            low, high = sorted(axis.get_view_interval())
            ticks = [t for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
            found += [label for t in ticks for label in (t.label1, t.label2)]
            found.append(axis.get_offset_text())
    seen = [text for text in found if text and text.get_visible() and text.get_text()]
    return [(text.get_text(), text.get_window_extent()) for text in seen]


def drawn(axes):
    return np.array([line.get_ydata() for line in axes.lines])


def named(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


# ------------------------------------------------------------------- lines


def test_each_panel_holds_its_lines_in_the_colours_of_their_values():
    figure = lines(WALKS, [f"pair {i}" for i in range(6)], T, ends=ENDS, title="Walks")
    *panels, bar = figure.axes
    assert len(panels) == 6 and bar.get_xlabel() == "position t"
    viridis = colormaps["viridis"]([0, 0.45, 0.9])
    for i, axes in enumerate(panels):
        np.testing.assert_array_equal(drawn(axes), [*WALKS[i], *ENDS[i]])
        assert axes.get_title(loc="left") == f"pair {i}"
        assert [line.get_linestyle() for line in axes.lines] == ["-"] * 11 + ["--"] * 2
        colors = [line.get_color() for line in axes.lines]
        # 256 colours: two neighbours differ by less than 0.01 in each component
        np.testing.assert_allclose([colors[0], colors[5], colors[10]], viridis, atol=0.01)
        np.testing.assert_array_equal([colors[11], colors[12]], [colors[0], colors[10]])
    assert bar.get_xlim() == (0, 1)


def test_several_channels_have_columns_of_panels_with_a_scale_each():
    signals = RNG.normal(size=(3, 2, 40, 2)) * [1, 1000]
    figure = lines(signals, ["a", "b", "c"])
    assert len(figure.axes) == 6
    for i, j in np.ndindex(3, 2):
        axes = figure.axes[2 * i + j]
        np.testing.assert_array_equal(drawn(axes), signals[i, :, :, j])
        assert axes.get_title(loc="left") == f"{'abc'[i]}, channel {j + 1}"
        assert axes.get_ylim() == figure.axes[j].get_ylim()
    assert figure.axes[1].get_ylim()[1] > 100 * figure.axes[0].get_ylim()[1]


def test_what_is_too_much_is_left_out_and_the_title_says_so():
    figure = lines(RNG.normal(size=(64, 1, 5)))
    assert figure.get_suptitle() == "Samples from the prior (first 20 of 64)"
    assert len(figure.axes) == 20
    figure = lines(RNG.normal(size=(12, 1, 5, 7)))
    expected = "Samples from the prior (first 10 of 12, first 4 of 7 channels)"
    assert figure.get_suptitle() == expected
    assert len(figure.axes) == 40
    assert lines(WALKS[:3]).get_suptitle() == "Samples from the prior"


def test_columns_are_named_level_upright_or_some_of_them():
    few = lines(WALKS[:1, :, :5], columns=["age", "income", "lead", "rent", "x"]).axes[0]
    assert named(few) == ["age", "income", "lead", "rent", "x"]
    assert {label.get_rotation() for label in few.get_xticklabels()} == {0}
    many = lines(WALKS[:1, :, :30], columns=LONG[:30]).axes[0]
    assert named(many) == [f"{x[:11]}…{x[-11:]}" for x in LONG[:30]]
    assert {label.get_rotation() for label in many.get_xticklabels()} == {90}
    assert many.get_xlabel() == "column"
    thinned = lines(RNG.normal(size=(1, 2, 120)), columns=LONG).axes[0]
    assert named(thinned) == [f"{x[:11]}…{x[-11:]}" for x in LONG[::3]]
    assert thinned.get_xlabel() == "column (120; one of 3 is named)"
    np.testing.assert_array_equal(thinned.get_xticks(), np.arange(0, 120, 3))


def test_missing_values_are_gaps_and_lonely_ones_are_points():
    signal = np.array([1.0, 2, np.nan, 3, np.nan, 4, 5, np.nan])
    (line,) = lines(signal[None, None]).axes[0].lines
    np.testing.assert_array_equal(line.get_ydata(), signal)
    assert line.get_markevery() == [3]
    row = lines(signal[None, None], columns=list("abcdefgh")).axes[0].lines[0]
    assert row.get_markevery() == [0, 1, 3, 5, 6]


def test_reconstructions_of_signals_are_drawn_over_their_originals():
    x = RNG.normal(size=(5, 40, 2))
    x[0, 10:20, 1] = np.nan
    decoded = RNG.normal(size=(5, 40, 2))
    figure = reconstruction_lines(x, decoded)
    for i, j in np.ndindex(5, 2):
        axes = figure.axes[2 * i + j]
        np.testing.assert_array_equal(drawn(axes), [x[i, :, j], decoded[i, :, j]])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["original", "reconstruction"]
    originals, others = figure.axes[0].lines
    handles = [line.get_color() for line in legend.legend_handles]
    assert handles == [originals.get_color(), others.get_color()]
    assert figure.axes[0].get_title(loc="left") == "channel 1"


# ------------------------------------------------------------------- scatter plots of rows


def table(n, features, noise):
    x = RNG.normal(size=(n, features)) * 10.0 ** RNG.integers(-4, 6, features)
    return x, x + noise * x.std(0) * RNG.normal(size=x.shape)


def points(axes):
    (scatter,) = axes.collections
    return np.asarray(scatter.get_offsets())


def test_points_are_the_observed_values_and_their_reconstructions():
    x, decoded = table(50, 5, 0.5)
    x[RNG.random(x.shape) < 0.2] = np.nan
    figure = reconstruction_scatter(x, decoded, list("abcde"))
    assert figure.get_suptitle() == "Reconstructions"
    for i, axes in enumerate(figure.axes):
        known = ~np.isnan(x[:, i])
        expected = np.stack([x[known, i], decoded[known, i]], axis=1)
        np.testing.assert_array_equal(points(axes), expected)
        r2 = 1 - ((expected[:, 0] - expected[:, 1]) ** 2).mean() / expected[:, 0].var()
        (text,) = axes.texts
        assert text.get_text() == f"R² {r2:.2f}"
        assert axes.get_title() == "abcde"[i]
        assert axes.get_xlim() == axes.get_ylim()
        (diagonal,) = axes.lines
        np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())
        assert expected.min() > axes.get_xlim()[0] and expected.max() < axes.get_xlim()[1]


def test_of_many_columns_those_from_the_best_to_the_worst_are_drawn():
    x, decoded = table(200, 30, np.linspace(0.1, 2, 30)[RNG.permutation(30)])
    r2 = 1 - ((x - decoded) ** 2).mean(0) / x.var(0)
    figure = reconstruction_scatter(x, decoded, [f"x{i}" for i in range(30)])
    assert "(12 of 30 columns, from the best R² to the worst)" in figure.get_suptitle()
    shown = [int(axes.get_title()[1:]) for axes in figure.axes]
    assert len(shown) == 12 and shown == sorted(shown)
    assert {r2.argmax(), r2.argmin()} <= set(shown)
    ranks = np.sort(np.argsort(np.argsort(r2))[shown])
    assert set(np.diff(ranks)) == {2, 3}  # 11 steps over 29 ranks


def test_columns_that_do_not_vary_or_are_unknown_have_no_r2():
    x = np.stack([np.full(9, 3.0), np.full(9, np.nan), np.arange(9.0)], axis=1)
    figure = reconstruction_scatter(x, np.nan_to_num(x) * 0 + 1, ["constant", "unknown", "rising"])
    assert [axes.texts[0].get_text() for axes in figure.axes[:2]] == ["R² none"] * 2
    assert len(points(figure.axes[1])) == 0
    # mean 4, squares about it 60; about 1 they are 60 + 9 * 3^2
    assert figure.axes[2].texts[0].get_text() == "R² \N{MINUS SIGN}1.35"


# ------------------------------------------------------------------- layout

ROWS = RNG.normal(size=(12, 30)) * 10.0 ** np.tile(np.arange(-5, 5), 3)
FIGURES = {
    "samples": lambda: lines(RNG.normal(size=(64, 1, 128))),
    "one sample": lambda: lines(RNG.normal(size=(1, 1, 128)) * 1e-6),
    "one value": lambda: lines(np.ones((1, 1, 1))),
    "seven panels": lambda: lines(WALKS[[0] * 7], ["z₁"] * 7, T),
    "one step": lambda: lines(WALKS[:, :1], ["z₁"] * 6, ([-3.0], "value of the latent")),
    "channels": lambda: lines(RNG.normal(size=(3, 11, 9, 3)) * 1e5, ["example 10 to 11"] * 3, T),
    "five columns": lambda: lines(
        WALKS[..., :5], ["example 0 to 1"] * 6, T, LONG[:5], ENDS[..., :5], "deviations\n(rows)"
    ),
    "30 columns": lambda: lines(WALKS[..., :30], ["example 0 to 1"] * 6, T, LONG[:30]),
    "120 columns": lambda: lines(RNG.normal(size=(1, 64, 120)), columns=LONG),
    "one signal": lambda: reconstruction_lines(WALKS[0, :1, :, None], WALKS[1, :1, :, None]),
    "signals": lambda: reconstruction_lines(WALKS[0, :, :, None], WALKS[1, :, :, None]),
    "signals of channels": lambda: reconstruction_lines(WALKS.T[..., :3], WALKS.T[..., 3:]),
    "rows": lambda: reconstruction_scatter(ROWS, ROWS, LONG[:30]),
    "five": lambda: reconstruction_scatter(1e5 + ROWS[:, :5], 1e5 + ROWS[:, :5], LONG[:5]),
    "one row": lambda: reconstruction_scatter([[7.0]], [[7.0]], ["x"]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_or_overlaps(name):
    figure = FIGURES[name]()
    pixels = rendered(figure)
    assert (of_the_edge(pixels) == 1).all(), "something is drawn up to the edge"
    found = texts(figure)
    assert len(found) > 4
    for i, (text, box) in enumerate(found):
        for other, another in found[:i]:
            assert not box.overlaps(another), (text, other)


# ------------------------------------------------------------------- errors

ERRORS = [
    (lambda: lines(WALKS[0]), r"panels has shape \(11, 40\): must be \(p, k, length\) or"),
    (lambda: lines(WALKS[:0]), r"panels has shape \(0, 11, 40\)"),
    (lambda: lines(WALKS * np.inf), "panels .* holds infinity"),
    (lambda: lines(WALKS, ["a"]), "titles has length 1: must be 6"),
    (lambda: lines(WALKS, columns=["a"]), "columns has length 1: must be 40"),
    (lambda: lines(WALKS, (), ([0, 1], "t")), r"colored has shape \(2,\): must be \(11,\)"),
    (lambda: lines(WALKS, ends=WALKS), r"ends has shape .*: must be \(6, 2, 40\)"),
    (lambda: reconstruction_lines(WALKS[0], WALKS[0]), r"originals has shape \(11, 40\)"),
    (lambda: reconstruction_lines(WALKS, WALKS[:2]), r"reconstructions has shape \(2, 11, 40\)"),
    (lambda: reconstruction_scatter(ROWS, ROWS, ["a"]), "columns has length 1: must be 30"),
    (lambda: reconstruction_scatter(WALKS, WALKS, []), r"originals has shape \(6, 11, 40\)"),
    (lambda: reconstruction_scatter(ROWS, ROWS / 0, LONG[:30]), "reconstructions .* infinity"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_errors_name_the_argument_and_its_shape(call, message):
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=message):
        call()


def test_what_is_unchanged_is_dashed_in_every_panel():
    walks, base = RNG.normal(size=(3, 4, 9, 2)), RNG.normal(size=(9, 2))
    figure = lines(walks, ["a", "b", "c"], (np.arange(4), "t"), base=base)
    panels = figure.axes[:6]  # three latents, two channels
    for i, axes in enumerate(panels):
        *varied, same = axes.lines
        assert len(varied) == 4 and same.get_linestyle() == "--"
        np.testing.assert_array_equal(same.get_ydata(), base[:, i % 2])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["unchanged"]
    with pytest.raises(ValueError, match=r"base has shape \(8, 2\): must be \(9, 2\)"):
        lines(walks, base=base[:8])
