"""Grids, figures made of images, and the PNG files they are written to."""

import io
from concurrent.futures import ThreadPoolExecutor

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvae.figures import (
    frame,
    image_grid,
    interpolations,
    manifold,
    reconstructions,
    samples,
    save,
    save_film,
    save_images,
    traversals,
)
from jaxvae.figures.grid import to_rgb
from tests.figures.pixels import of_the_edge

MINUS = "\N{MINUS SIGN}"


def random_images(*shape):
    """Pixels that are multiples of 1/255, so that 8 bits hold them exactly."""
    rng = np.random.default_rng(sum(shape))
    return (rng.integers(0, 256, shape) / 255).astype(np.float32)


def shown(figure):
    """The grid that the figure's only axes show, 8-bit RGB."""
    (axes,) = figure.axes
    (image,) = axes.images
    return np.asarray(image.get_array())


def rendered(figure):
    """The pixels of the figure as written to a PNG file, 8-bit RGB."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=figure.dpi)
    buffer.seek(0)
    return np.round(255 * matplotlib.image.imread(buffer)[..., :3]).astype(np.uint8)


def rgb(image):
    return np.broadcast_to(np.round(255 * image), (*image.shape[:2], 3))


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def assert_cell(figure, top, left, image):
    height, width, _ = image.shape
    np.testing.assert_array_equal(
        shown(figure)[top : top + height, left : left + width], rgb(image)
    )


@settings(max_examples=50)
@given(
    n=st.integers(1, 12),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    channels=st.sampled_from([1, 3]),
    columns=st.integers(1, 14),
    gap=st.integers(0, 3),
)
def test_grid_holds_every_image_in_its_place_and_white_elsewhere(
    n, height, width, channels, columns, gap
):
    images = random_images(n, height, width, channels)
    rows = -(-n // columns)
    expected = np.ones(
        (rows * height + (rows - 1) * gap, columns * width + (columns - 1) * gap, channels)
    )
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        expected[top : top + height, left : left + width] = image
    np.testing.assert_array_equal(image_grid(images, columns, gap), expected.astype(np.float32))


def test_bytes_are_the_nearest_255ths():
    levels = np.arange(256, dtype=np.float32).reshape(16, 16, 1)
    for shift in (-0.4, 0, 0.4):
        rgb = to_rgb(np.clip((levels + np.float32(shift)) / 255, 0, 1))
        assert rgb.dtype == np.uint8
        for channel in range(3):
            np.testing.assert_array_equal(rgb[..., channel].ravel(), np.arange(256))


def test_grid_clips_to_the_unit_interval():
    grid = image_grid(np.array([-0.5, 0.25, 1.5]).reshape(3, 1, 1, 1), columns=3)
    assert grid.ravel().tolist() == [0, 0.25, 1]


@pytest.mark.parametrize(("height", "width", "channels"), [(28, 28, 1), (20, 32, 3), (7, 3, 1)])
@pytest.mark.parametrize("n", [1, 3, 37])
def test_each_pixel_of_a_grid_is_drawn_as_a_square_of_the_same_size(n, height, width, channels):
    figure = samples(random_images(n, height, width, channels))
    grid = shown(figure)
    pixels = rendered(figure)
    box = figure.axes[0].get_position()
    left, bottom, right, top = (
        round(f * s) for f, s in zip(box.extents, (*figure.bbox.size,) * 2, strict=True)
    )
    area = pixels[pixels.shape[0] - top : pixels.shape[0] - bottom, left:right]
    k = area.shape[0] // grid.shape[0]
    np.testing.assert_array_equal(area, grid.repeat(k, 0).repeat(k, 1))
    assert figure.dpi >= 150
    assert (right - left) / figure.dpi <= 7.0 + 1e-9  # inches, the page


@pytest.mark.parametrize("n", [1, 3, 37])
@pytest.mark.parametrize("with_inputs", [False, True])
def test_reconstructions_stand_below_their_originals(n, with_inputs):
    originals = random_images(n, 20, 32, 3)
    decoded = originals[::-1] * np.float32(0.2)
    inputs = 1 - originals if with_inputs else None
    figure = reconstructions(originals, decoded, inputs)
    rows = ([inputs] if with_inputs else []) + [originals, decoded]
    names = (["input"] if with_inputs else []) + ["original", "reconstruction"]
    block = len(rows) * 21 - 1 + 5  # rows of 20 pixels, gaps of 1, and 5 between blocks
    for i in range(n):
        for j, images in enumerate(rows):
            assert_cell(figure, i // 10 * block + 21 * j, i % 10 * 33, images[i])
    blocks = -(-n // 10)
    assert labels(figure.axes[0].yaxis) == names * blocks
    centers = [b * block + 21 * j + 9.5 for b in range(blocks) for j in range(len(rows))]
    np.testing.assert_allclose(figure.axes[0].get_yticks(), centers)


def test_many_reconstructions_take_more_columns():
    images = random_images(200, 8, 8, 1)
    # sqrt(2 * 200) = 20 columns: 10 blocks of two rows
    assert shown(reconstructions(images, images)).shape == (10 * 17 + 9 * 2, 20 * 9 - 1, 3)


@pytest.mark.parametrize(("n", "height", "width", "columns"), [(64, 8, 8, 8), (8, 8, 16, 2)])
def test_samples_fill_about_a_square(n, height, width, columns):
    grid = shown(samples(random_images(n, height, width, 1)))
    rows = n // columns
    assert grid.shape[:2] == (rows * (height + 1) - 1, columns * (width + 1) - 1)


def test_manifold_has_z1_to_the_right_and_z2_upwards():
    images = random_images(3, 9, 4, 5, 1)
    figure = manifold(images, np.linspace(-2, 2, 9), [-1, 0, 1])
    for i in range(3):
        for j in range(9):
            assert_cell(figure, (2 - i) * 5, j * 6, images[i, j])
    (axes,) = figure.axes
    assert labels(axes.xaxis) == [f"{MINUS}2", f"{MINUS}1", "0", "1", "2"]
    assert labels(axes.yaxis) == [f"{MINUS}1", "0", "1"]
    np.testing.assert_allclose(axes.get_yticks(), [11.5, 6.5, 1.5])
    np.testing.assert_allclose(axes.get_xticks(), [2, 14, 26, 38, 50])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z₁", "z₂")


def test_interpolations_go_from_left_to_right_between_their_originals():
    images, originals = random_images(2, 5, 8, 12, 3), random_images(2, 2, 8, 12, 3)
    plain, framed = interpolations(images), interpolations(images, originals)
    first = 12 + 3  # an image and a quarter of its width
    for i in range(2):
        for j in range(5):
            assert_cell(plain, i * 9, j * 13, images[i, j])
            assert_cell(framed, i * 9, first + j * 13, images[i, j])
        assert_cell(framed, i * 9, 0, originals[i, 0])
        assert_cell(framed, i * 9, first + 5 * 13 - 1 + 3, originals[i, 1])
    steps = ["0", "0.25", "0.5", "0.75", "1"]
    assert labels(plain.axes[0].xaxis) == steps
    assert labels(framed.axes[0].xaxis) == ["original", *steps, "original"]
    np.testing.assert_allclose(
        framed.axes[0].get_xticks(), [5.5, *(20.5 + 13 * np.arange(5)), 87.5]
    )


def test_traversals_stand_beside_what_is_unchanged():
    images, base = random_images(2, 7, 6, 6, 1), random_images(6, 6, 1)
    ticks = ["1 %", *[""] * 5, "99 %"]
    plain = traversals(images, ["z₅", "z₁₂: 2 nats"], ticks, xlabel="offset")
    beside = traversals(images, ["z₅", "z₁₂: 2 nats"], ticks, base)
    for i in range(2):
        assert_cell(beside, i * 7, 0, base)
        for j in range(7):
            assert_cell(plain, i * 7, j * 7, images[i, j])
            assert_cell(beside, i * 7, 6 + 2 + j * 7, images[i, j])  # an image, and white
    (axes,) = plain.axes
    assert labels(axes.yaxis) == ["z₅", "z₁₂: 2 nats"]
    assert labels(axes.xaxis) == ticks
    assert axes.get_xlabel() == "offset"
    assert labels(beside.axes[0].xaxis) == ["unchanged", *ticks]
    np.testing.assert_allclose(beside.axes[0].get_xticks()[:2], [2.5, 10.5])


def test_a_row_of_two_lines_has_room_for_them():
    images = random_images(6, 30, 6, 6, 1)  # as wide as a page
    one, two = (traversals(images, [name] * 6, []) for name in ("z₁", "z₁: 2 nats\n0 to 1"))
    heights = [f.get_figheight() * f.axes[0].get_position().height for f in (one, two)]
    assert heights[1] >= 6 * 0.25 > heights[0]  # inches


IMAGES = random_images(4, 6, 7, 1)
SERIES = random_images(2, 3, 6, 7, 1)
TICKS = ["1 %", "", "99 %"]
FIGURES = {
    "reconstructions": lambda: reconstructions(IMAGES, IMAGES, IMAGES),
    "one reconstruction": lambda: reconstructions(IMAGES[:1], IMAGES[:1]),
    "long title": lambda: samples(IMAGES[:1], "A title that is far wider than its single image"),
    "manifold": lambda: manifold(SERIES, [0, 1e-4, 12345], [0, 1]),
    "interpolations": lambda: interpolations(SERIES, SERIES[:, :2]),
    "traversals": lambda: traversals(SERIES, ["z₁: 9.12 nats\n0 to 1", "z₁₂₄"], TICKS, IMAGES[0]),
    "many traversals": lambda: traversals(
        np.tile(SERIES, (20, 1, 1, 1, 1)), [f"z₁: 2.1 nats\n{MINUS}1 to 2"] * 40, TICKS
    ),
    "named interpolations": lambda: interpolations(SERIES, SERIES[:, :2], names=["a to b"] * 2),
    "frame": lambda: frame(SERIES, ["from", "to"], ["z₁\n1.2 nats"] * 3, "One of many frames"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_or_overlaps(name):
    figure = FIGURES[name]()
    pixels = rendered(figure)
    assert (of_the_edge(pixels) == 255).all(), "something is drawn up to the edge"
    (axes,) = figure.axes
    for axis in (axes.xaxis, axes.yaxis):
        boxes = [label.get_window_extent() for label in axis.get_ticklabels()]
        for i, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:i])


def test_figures_can_be_drawn_in_threads_and_leave_none_open(tmp_path):
    import matplotlib.pyplot as plt

    alone = rendered(FIGURES["traversals"]())

    def draw(i):
        save(FIGURES["traversals"](), tmp_path / f"{i}.png")
        return rendered(FIGURES["traversals"]())

    with ThreadPoolExecutor(4) as pool:
        for pixels in pool.map(draw, range(8)):
            np.testing.assert_array_equal(pixels, alone)
    assert len(list(tmp_path.iterdir())) == 8
    assert plt.get_fignums() == []


def test_save_writes_the_figure_at_its_resolution_below_new_folders(tmp_path):
    figure = samples(IMAGES)
    path = tmp_path / "a" / "b" / "samples.png"
    save(figure, path)
    save(figure, str(path))  # over the first
    written = matplotlib.image.imread(path)
    assert written.shape[:2] == tuple(round(side) for side in figure.bbox.size)[::-1]
    assert np.ptp(written) > 0.5
    assert [p.name for p in path.parent.iterdir()] == ["samples.png"]


def test_failed_save_keeps_the_old_file_and_leaves_no_other(tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    save(samples(IMAGES), path)
    before = path.read_bytes()

    def full(*args):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="no space"):
        save(samples(1 - IMAGES), path)
    with pytest.raises(OSError, match="no space"):
        save_images(IMAGES, path)
    assert [p.name for p in tmp_path.iterdir()] == ["figure.png"]
    assert path.read_bytes() == before


@pytest.mark.parametrize("channels", [1, 3])
def test_plain_grid_file_has_one_pixel_per_pixel(tmp_path, channels):
    images = random_images(5, 6, 7, channels)
    save_images(images, tmp_path / "grid.png", gap=2)
    written = np.round(255 * matplotlib.image.imread(tmp_path / "grid.png")[..., :3])
    grid = image_grid(images, 3, 2)  # five images: three columns, two rows
    np.testing.assert_array_equal(written, rgb(grid))


@pytest.mark.parametrize("name", ["figure.eps", "figure"])
def test_other_files_are_refused(tmp_path, name):
    path = tmp_path / "new" / name
    with pytest.raises(ValueError, match=rf"path = .*{name}.*must end in \.png or \.pdf or \.svg"):
        save(samples(IMAGES), path)
    with pytest.raises(ValueError, match=rf"path = .*{name}.*must end in \.png$"):
        save_images(IMAGES, path)
    with pytest.raises(ValueError, match=rf"path = .*{name}.*must end in \.gif or \.webp"):
        save_film([samples(IMAGES)], path)
    assert list(tmp_path.iterdir()) == []


NAN = np.full((2, 6, 7, 1), np.nan)
ERRORS = [
    (lambda: image_grid(IMAGES[0], 2), r"images has shape \(6, 7, 1\)"),
    (lambda: image_grid(IMAGES[:0], 2), r"images has shape \(0, 6, 7, 1\)"),
    (lambda: image_grid(IMAGES[..., [0, 0]], 2), r"images has shape \(4, 6, 7, 2\)"),
    (lambda: image_grid(IMAGES, 0), "columns = 0"),
    (lambda: image_grid(IMAGES, 1, -1), "gap = -1"),
    (lambda: samples((255 * IMAGES).astype(np.uint8)), "images has dtype uint8"),
    (lambda: samples(NAN), "images .* holds NaN"),
    (lambda: reconstructions(IMAGES, IMAGES[:3]), r"reconstructions has shape \(3, 6, 7, 1\)"),
    (lambda: reconstructions(IMAGES, IMAGES, IMAGES[:1]), r"inputs has shape \(1, 6, 7, 1\)"),
    (lambda: reconstructions(IMAGES[0], IMAGES), r"originals has shape \(6, 7, 1\)"),
    (lambda: manifold(IMAGES, [0], [0]), r"images has shape \(4, 6, 7, 1\).*rows, columns"),
    (lambda: manifold(SERIES, [0, 1], [0, 1]), r"z1 has shape \(2,\): must be \(3,\)"),
    (lambda: manifold(SERIES, [0, 1, 2], [0]), r"z2 has shape \(1,\): must be \(2,\)"),
    (lambda: manifold(SERIES, [0, 1, 2], [1, 0]), "z2 .* must not decrease"),
    (lambda: interpolations(IMAGES), r"images has shape \(4, 6, 7, 1\).*pairs, steps"),
    (lambda: interpolations(SERIES[:, :1]), "at least 2 steps"),
    (lambda: interpolations(SERIES, SERIES), r"originals has shape \(2, 3, 6, 7, 1\)"),
    (lambda: interpolations(SERIES, names=["a"]), "names has length 1: must be 2, one per pair"),
    (lambda: traversals(IMAGES, ["z₁"], []), r"images has shape \(4, 6, 7, 1\).*dims, steps"),
    (lambda: traversals(SERIES, ["z₁"], []), "names has length 1: must be 2, one per row"),
    (lambda: traversals(SERIES, "ab", ["1 %"]), "ticks has length 1: must be 3, one per step"),
    (lambda: traversals(SERIES, "ab", [], IMAGES[0, :5]), r"unchanged has shape \(5, 7, 1\)"),
    (lambda: frame(IMAGES), r"images has shape \(4, 6, 7, 1\).*rows, columns"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_errors_name_the_argument_and_its_shape(call, message):
    with pytest.raises(ValueError, match=message):
        call()
