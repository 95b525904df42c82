"""Latent scatter plots with their principal components, and training curves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from sklearn.decomposition import PCA

from jaxvae.figures import kl_bars, latent_scatter, pca, training_curves, validation_curves
from jaxvae.figures.style import PALETTE, SINGLE, TRAINING, UNUSED, VALIDATION, class_color
from tests.figures.pixels import of_the_edge, rendered


def assert_complete(figure):
    """Something is drawn, and nothing up to the edge of the canvas."""
    pixels = rendered(figure)
    assert (of_the_edge(pixels) == 1).all()
    assert pixels.min() < 0.5


# ------------------------------------------------------------------- principal components


@settings(max_examples=40)
@given(n=st.integers(1, 30), d=st.integers(1, 12), seed=st.integers(0, 2**16))
def test_pca_is_a_rotation_that_sorts_the_variances(n, d, seed):
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(n, d)) * rng.uniform(0.1, 3, d) + rng.normal(size=d)
    projected, ratio = pca(codes)
    assert projected.shape == (n, min(n, d)) and ratio.shape == (min(n, d),)
    # Rounding in float64 grows with the size of the codes, here about 10: 1e-9 is ample.
    distances = np.linalg.norm(codes[:, None] - codes[None], axis=-1)
    np.testing.assert_allclose(
        np.linalg.norm(projected[:, None] - projected[None], axis=-1), distances, atol=1e-9
    )
    np.testing.assert_allclose(projected.mean(0), 0, atol=1e-9)
    assert (np.diff(ratio) <= 1e-12).all()
    covariance = projected.T @ projected
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-8)
    if n > 1:
        np.testing.assert_allclose(ratio.sum(), 1, rtol=1e-12)
        np.testing.assert_allclose(ratio, np.diag(covariance) / np.trace(covariance), atol=1e-10)


def test_pca_agrees_with_scikit_learn_up_to_signs():
    codes = np.random.default_rng(0).normal(size=(200, 6)) * [3, 2.5, 2, 1.5, 1, 0.5] + 4
    reference = PCA().fit(codes)
    projected, ratio = pca(codes.astype(np.float32))
    expected = reference.transform(codes)
    # float32 holds the codes (up to 15) to 1e-6; the directions are well separated.
    np.testing.assert_allclose(np.abs(projected), np.abs(expected), atol=1e-4)
    np.testing.assert_allclose(ratio, reference.explained_variance_ratio_, rtol=1e-5)


def test_pca_signs_do_not_depend_on_the_order_of_the_codes():
    codes = np.random.default_rng(1).normal(size=(50, 4)) * [4, 3, 2, 1]
    np.testing.assert_allclose(pca(codes[::-1])[0][::-1], pca(codes)[0], atol=1e-9)


def test_pca_of_equal_codes_explains_nothing():
    projected, ratio = pca(np.full((5, 3), 2.0))
    assert not projected.any() and not ratio.any()


# ------------------------------------------------------------------- scatter plots

RNG = np.random.default_rng(2)
CODES = RNG.normal(size=(300, 20)) * np.linspace(3, 0.5, 20)
LABELS = RNG.integers(0, 10, 300)


def points(figure):
    (scatter,) = figure.axes[0].collections
    return np.asarray(scatter.get_offsets()), scatter.get_facecolors()


def in_order(rows):
    rows = np.asarray(rows)
    return rows[np.lexsort(rows.T)]


@pytest.mark.parametrize("d", [2, 20])
def test_each_code_is_drawn_where_it_is_in_the_colour_of_its_class(d):
    figure = latent_scatter(CODES[:, :d], LABELS)
    drawn, colors = points(figure)
    expected = CODES[:, :2] if d == 2 else pca(CODES)[0][:, :2]
    np.testing.assert_allclose(in_order(drawn), in_order(expected))
    for point, color in zip(drawn, colors, strict=True):
        label = LABELS[np.linalg.norm(expected - point, axis=1).argmin()]
        np.testing.assert_allclose(color[:3], to_rgb(PALETTE[label]))
    assert_complete(figure)


def test_axes_state_the_latents_or_the_explained_variance():
    axes = latent_scatter(CODES[:, :2]).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z₁", "z₂")
    axes = latent_scatter(CODES).axes[0]
    percent = 100 * PCA(2).fit(CODES).explained_variance_ratio_
    assert axes.get_xlabel() == f"PC 1 ({percent[0]:.0f} % of variance)"
    assert axes.get_ylabel() == f"PC 2 ({percent[1]:.0f} % of variance)"


@pytest.mark.parametrize("scale", [[1, 0.01], [1e-4, 1], [1, 0], [0, 0]])
def test_one_unit_has_the_same_length_on_both_axes_and_all_codes_are_inside(scale):
    figure = latent_scatter(CODES[:, :2] * scale + [5, -7], LABELS)
    axes = figure.axes[0]
    origin, right, up = axes.transData.transform([[0, 0], [1, 0], [0, 1]])
    np.testing.assert_allclose((right - origin)[0], (up - origin)[1], rtol=1e-6)
    drawn, _ = points(figure)
    inside = axes.transAxes.inverted().transform(axes.transData.transform(drawn))
    assert inside.min() > 0 and inside.max() < 1
    assert_complete(figure)


@pytest.mark.parametrize("d", [1, 2, 20])
def test_legend_names_the_classes_that_occur(d):
    classes = [f"class {c}" for c in "abcdefghijkl"]
    some = np.where(LABELS < 3, LABELS, 11)
    figure = latent_scatter(CODES[:, :d], some, classes)
    axes = figure.axes[0]
    texts = axes.get_yticklabels()[::-1] if d == 1 else axes.get_legend().get_texts()
    assert [t.get_text() for t in texts] == ["class a", "class b", "class c", "class l"]
    assert_complete(figure)


def test_a_class_keeps_its_colour_where_others_are_missing():
    def colors(labels):
        legend = (
            latent_scatter(CODES[:, :2], labels, [str(c) for c in range(10)]).axes[0].get_legend()
        )
        texts = [text.get_text() for text in legend.get_texts()]
        return dict(zip(texts, [h.get_color() for h in legend.legend_handles], strict=True))

    every, some = colors(np.arange(300) % 10), colors(np.arange(300) % 2 * 5 + 2)
    assert some == {name: every[name] for name in ("2", "7")}


@pytest.mark.parametrize("count", [15, 47])
def test_many_classes_have_distinct_colours(count):
    figure = latent_scatter(CODES[:, :2], np.arange(300) % count)
    handles = figure.axes[0].get_legend().legend_handles
    assert len({handle.get_color() for handle in handles}) == count
    assert_complete(figure)


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("n", [1, 2, 300])
def test_without_labels_there_is_no_legend(n, d):
    figure = latent_scatter(CODES[:n, :d])
    assert figure.axes[0].get_legend() is None
    assert figure.axes[0].get_title(loc="left") == f"Codes of {n} image{'s' if n > 1 else ''}"
    assert_complete(figure)


def test_histogram_counts_every_code():
    for codes in (CODES[:, :1], np.full((7, 1), 3.0), 3 + 1e-15 * CODES[:, :1]):
        (patch,) = latent_scatter(codes).axes[0].patches
        counts, edges, _ = patch.get_data()
        assert counts.sum() == len(codes)
        np.testing.assert_array_equal(counts, np.histogram(codes, edges)[0])


def test_histograms_of_classes_share_bins_and_scale():
    codes = CODES[:, :1] + LABELS[:, None]
    patches = latent_scatter(codes, LABELS).axes[0].patches
    heights = []
    for label, patch in zip(range(9, -1, -1), patches, strict=True):  # from the bottom upwards
        top, edges, bottom = patch.get_data()
        counts = np.histogram(codes[label == LABELS], edges)[0]
        heights.append((top - bottom) / np.maximum(counts, 1))
        np.testing.assert_array_equal((top - bottom) > 0, counts > 0)
    per_code = np.concatenate(heights)
    np.testing.assert_allclose(per_code[per_code > 0], per_code.max(), rtol=1e-9)


def test_larger_sets_have_smaller_and_more_transparent_points():
    sizes, alphas = [], []
    for n in (10, 1_000, 20_000):
        (scatter,) = latent_scatter(np.zeros((n, 2)) + np.arange(n)[:, None]).axes[0].collections
        sizes.append(scatter.get_sizes()[0])
        alphas.append(scatter.get_alpha())
    assert sizes[0] > sizes[1] > sizes[2] and alphas[0] > alphas[1] > alphas[2]


# ------------------------------------------------------------------- training curves


def history(epochs, kl=25.0, best=None):
    epoch = np.arange(1, epochs + 1)
    recon = 80 + 20 / epoch
    val_recon = 90.0 + np.abs(epoch - (epochs if best is None else best))
    kl = np.full(epochs, kl)
    return {
        "epoch": epoch,
        "train_loss": recon + kl,
        "train_recon": recon,
        "train_kl": kl,
        "val_loss": val_recon + kl,
        "val_recon": val_recon,
        "val_kl": kl,
        "learning_rate": np.full(epochs, 1e-3),
        "beta_eff": np.ones(epochs),
        "seconds": np.full(epochs, 2.5),
        "images_per_second": np.full(epochs, 2.4e4),
    }


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def best_mark(figure):
    (mark,) = (line for line in figure.axes[0].lines if line.get_marker() == "*")
    return mark


@pytest.mark.parametrize("epochs", [1, 2, 10, 300])
def test_curves_hold_the_columns(epochs):
    table = history(epochs)
    figure = training_curves(table)
    assert titles(figure) == ["Loss", "Reconstruction", "KL divergence"]
    for axes, term in zip(figure.axes, ("loss", "recon", "kl"), strict=True):
        scale = " (log)" if axes.get_yscale() == "log" else ""
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "nats per image" + scale)
        for line, split in zip(axes.lines, ("train", "val"), strict=False):
            np.testing.assert_array_equal(line.get_xdata(), table["epoch"])
            np.testing.assert_array_equal(line.get_ydata(), table[f"{split}_{term}"])
            assert (line.get_marker() == "o") == (epochs <= 20)
    assert_complete(figure)


@settings(max_examples=10)
@given(losses=st.lists(st.floats(-500, 500), min_size=1, max_size=8))
def test_the_marked_epoch_has_the_lowest_validation_loss(losses):
    table = {**history(len(losses)), "val_loss": losses}
    mark = best_mark(training_curves(table))
    lowest = int(np.argmin(losses))
    assert mark.get_xdata() == [lowest + 1] and mark.get_ydata() == [losses[lowest]]


def test_legend_states_the_best_value_and_epoch():
    (legend,) = training_curves(history(12, best=5)).legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["training", "validation", "lowest validation loss: 115.00 (epoch 5)"]
    negative = history(12, kl=-100.25, best=5)
    (legend,) = training_curves(negative).legends
    assert "loss: \N{MINUS SIGN}10.250 (epoch 5)" in legend.get_texts()[2].get_text()


def test_losses_that_are_not_finite_are_passed_over():
    table = history(6, best=2)
    table["val_loss"][1] = np.nan
    table["val_loss"][4] = np.inf
    assert best_mark(training_curves(table)).get_xdata() == [1]  # 94 at epochs 1 and 3
    figure = training_curves({**table, "val_loss": np.full(6, np.nan)})
    assert not any(line.get_marker() == "*" for line in figure.axes[0].lines)
    assert_complete(figure)


def test_panels_are_left_out_where_there_is_nothing_to_see():
    drop = np.where(np.arange(30) < 20, 1e-3, 1e-4)
    assert titles(training_curves(history(30, kl=0))) == ["Loss", "Reconstruction"]
    figure = training_curves({**history(30, kl=0), "learning_rate": drop})
    assert titles(figure) == ["Loss", "Reconstruction", "Learning rate"]
    assert_complete(figure)
    figure = training_curves({**history(30), "learning_rate": drop})
    assert titles(figure) == ["Loss", "Reconstruction", "KL divergence", "Learning rate"]
    np.testing.assert_array_equal(figure.axes[3].lines[0].get_ydata(), drop)
    assert_complete(figure)


def test_only_wide_positive_ranges_are_logarithmic():
    table = history(30, kl=0)
    wide = np.geomspace(50, 2, 30)
    cosine = 0.5e-3 * (1 + np.cos(np.linspace(0, np.pi, 30)))
    figure = training_curves({**table, "train_loss": wide, "learning_rate": cosine})
    # losses from 2 to 50; reconstructions from 80 to 120; a rate that ends at 0
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear", "linear"]
    figure = training_curves({**table, "train_loss": wide - 3})
    assert figure.axes[0].get_yscale() == "linear"
    figure = training_curves({**history(30), "train_kl": wide})
    assert figure.axes[2].get_yscale() == "linear"


def test_rows_of_strings_as_read_from_a_csv_file_draw_the_same():
    table = history(7, best=3)
    rows = [{name: str(values[i]) for name, values in table.items()} for i in range(7)]
    np.testing.assert_array_equal(rendered(training_curves(rows)), rendered(training_curves(table)))


def test_no_pyplot_figure_is_left_open():
    import matplotlib.pyplot as plt

    latent_scatter(CODES, LABELS)
    training_curves(history(3))
    assert plt.get_fignums() == []


# ------------------------------------------------------------------- errors

ERRORS = [
    (lambda: pca(CODES[0]), r"codes has shape \(20,\)"),
    (lambda: pca(CODES[:0]), r"codes has shape \(0, 20\)"),
    (lambda: latent_scatter(CODES[None]), r"codes has shape \(1, 300, 20\)"),
    (lambda: latent_scatter(CODES * np.nan), r"codes \(shape \(300, 20\)\) holds NaN"),
    (lambda: latent_scatter(CODES, LABELS[:9]), r"labels has shape \(9,\): must be \(300,\)"),
    (lambda: latent_scatter(CODES, LABELS / 2), "labels has dtype float64"),
    (lambda: latent_scatter(CODES, LABELS - 1), r"labels lie in -1\.\.8: must be at least 0"),
    (lambda: latent_scatter(CODES, LABELS, ["a", "b"]), r"labels lie in 0\.\.9: must be in 0\.\.1"),
    (lambda: training_curves([]), r"'epoch' has shape \(0,\)"),
    (lambda: training_curves({**history(3), "val_kl": [0.0]}), r"'val_kl' has shape \(1,\)"),
    (lambda: training_curves({**history(3), "val_loss": ["", "1", "2"]}), "'val_loss' does not"),
    (lambda: training_curves({"epoch": [1, 2]}), "rows lacks the column 'train_loss'"),
    (lambda: training_curves([{"epoch": 1}]), "rows lacks the column 'train_loss'"),
    (lambda: training_curves({**history(2), "epoch": np.ones((2, 2))}), r"has shape \(2, 2\)"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_errors_name_the_argument_and_its_shape(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ------------------------------------------------------------------- curves of several runs


def test_validation_curves_share_a_colour_by_name_and_mark_each_minimum():
    curves = [
        ("beta 1", [1, 2, 3], [5.0, 3.0, 4.0]),
        ("beta 4", [1, 2], [30.0, 25.0]),
        ("beta 1", [1, 2, 3], [6.0, 4.0, 3.5]),
        ("beta 9", [], []),
    ]
    figure = validation_curves(curves)
    assert_complete(figure)
    (axes,) = figure.axes
    lines, marks = axes.lines[::2], axes.lines[1::2]
    assert [line.get_xydata().tolist() for line in marks] == [[[2, 3.0]], [[2, 25.0]], [[3, 3.5]]]
    colors = [line.get_color() for line in lines]
    assert colors[0] == colors[2] != colors[1]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["beta 1", "beta 4"]
    assert axes.get_yscale() == "log"
    with pytest.raises(ValueError, match="no run has an epoch"):
        validation_curves(curves[3:])


# ------------------------------------------------------------------- what a latent says


def test_bars_fall_and_unused_latents_are_grey():
    kl, used = np.array([0.5, 3.0, 0.001, 1.5]), np.array([True, True, False, True])
    figure = kl_bars(kl, used)
    (axes,) = figure.axes
    bars = axes.patches
    assert [bar.get_height() for bar in bars] == [3, 1.5, 0.5, 0.001]
    assert [to_rgb(bar.get_facecolor()) for bar in bars] == [to_rgb(SINGLE)] * 3 + [to_rgb(UNUSED)]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["z₂", "z₄", "z₁", "z₃"]
    assert axes.get_title(loc="left") == "KL by latent: 5.0 nats, 3 of 4 used"
    assert_complete(figure)
    assert_complete(kl_bars(np.linspace(2, 0, 200), np.full(200, True)))
    with pytest.raises(ValueError, match=r"kl and used have shapes \(4,\) and \(3,\)"):
        kl_bars(kl, used[:3])


@pytest.mark.parametrize("scale", [0.1, 1.5])
def test_circles_of_the_prior_are_whole_and_named(scale):
    figure = latent_scatter(CODES[:, :2] * scale + [1, 0], LABELS, prior=True)
    (axes,) = figure.axes
    assert [(patch.center, patch.radius) for patch in axes.patches] == [((0, 0), 1), ((0, 0), 2)]
    for low, high in (axes.get_xlim(), axes.get_ylim()):
        assert low < -2 and high > 2
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts[-2:] == ["prior, 1 std", "prior, 2 std"] and len(texts) == 12
    assert_complete(figure)
    assert not latent_scatter(CODES, LABELS, prior=True).axes[0].patches  # principal components


def test_colours_are_one_palette_and_differ():
    assert [class_color(i, 10) for i in range(10)] == list(PALETTE)
    for count in (11, 47, 100):
        assert len({class_color(i, count) for i in range(count)}) == count
        assert to_rgb(class_color(count - 1, count))


# ------------------------------------------------------------------- robust ranges, further terms


def test_the_first_epoch_does_not_squash_the_others():
    table = history(30)
    table["train_loss"][0] = 5000.0
    axes = training_curves(table).axes[0]
    rest = np.concatenate([table["train_loss"][1:], table["val_loss"]])
    low, high = axes.get_ylim()
    assert low < rest.min() and rest.max() < high < 200 and axes.get_yscale() == "linear"
    assert [text.get_text() for text in axes.texts] == ["↑ up to 5000"]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), table["train_loss"])  # still there
    calm = training_curves(history(30)).axes[0]
    assert not calm.texts
    few = history(4)
    few["train_loss"][0] = 5000.0  # of eight values each counts
    assert not training_curves(few).axes[0].texts


def test_each_term_of_a_variant_has_a_panel():
    more = {"train_tc": np.arange(5.0), "val_tc": np.arange(5.0) - 1, "train_l1_norm": np.ones(5)}
    zero = {"val_none": np.zeros(5), "val_mse": np.ones(5)}
    figure = training_curves(history(5) | more | zero)
    assert titles(figure) == ["Loss", "Reconstruction", "KL divergence", "tc", "l1 norm"]
    train, val = figure.axes[3].lines[:2]
    np.testing.assert_array_equal(train.get_ydata(), more["train_tc"])
    np.testing.assert_array_equal(val.get_ydata(), more["val_tc"])
    (only, best) = figure.axes[4].lines
    np.testing.assert_array_equal(only.get_ydata(), np.ones(5))
    assert only.get_color() == TRAINING != VALIDATION and best.get_linestyle() == ":"
    assert_complete(figure)


def test_where_a_training_ends_is_in_sight():
    """One that diverges in its last epochs, which are few."""
    losses = [*np.linspace(120, 100, 37), 400.0, 600.0, 800.0]
    axes = validation_curves([("a", range(1, 41), losses)]).axes[0]
    assert axes.get_ylim()[1] > 800
