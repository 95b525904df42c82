"""Files of figures: formats that repeat to the byte, footers that overlap nothing, films."""

import base64
import io
import re

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from jaxvae.figures import (
    frame,
    kl_bars,
    latent_scatter,
    lines,
    samples,
    save,
    save_film,
    training_curves,
    traversals,
    validation_curves,
)
from jaxvae.figures.files import FOOTER, with_footer
from jaxvae.figures.style import png

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (4, 6, 7, 1)).astype(np.float32) / 255
WALKS = np.stack([IMAGES, IMAGES[::-1]])
ROWS = [
    dict.fromkeys(("train_recon", "val_recon", "val_loss", "train_loss"), 90.0 / e)
    | {"epoch": e, "train_kl": e, "val_kl": e, "learning_rate": 1e-3, "train_tc": 2.0 * e}
    for e in range(1, 5)
]
KL = RNG.gamma(1, size=12)
FIGURES = {
    "samples": lambda: samples(IMAGES),
    "one image": lambda: samples(IMAGES[:1]),
    "traversals": lambda: traversals(WALKS, ["z₁: 2 nats\n0 to 1", "z₂"], [], IMAGES[0]),
    "scatter": lambda: latent_scatter(RNG.normal(size=(50, 2)), np.arange(50) % 3, prior=True),
    "bars": lambda: kl_bars(KL, KL > 0.5),
    "curves": lambda: training_curves(ROWS),
    "members": lambda: validation_curves([(f"beta {i}", [1, 2], [3, 2 + i]) for i in range(9)]),
    "lines": lambda: lines(RNG.normal(size=(3, 5, 9)), "abc", (np.arange(5), "t"), ylabel="y"),
}
SAID = "a: mnist_vae · epoch 12 · mnist, test split"
LONG = "runs-of-a-very-long-name: mnist_vae · epoch 12 · /some/where/on/a/disk/of/mine/images, test"


@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
@pytest.mark.parametrize("name", ["samples", "scatter", "curves"])
def test_a_figure_is_the_same_bytes_whenever_it_is_drawn(kind, name, tmp_path, monkeypatch):
    for i, epoch in enumerate(("1000000000", "1700000000")):  # what a date would be of
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
        drawn = {"scatter": lambda: latent_scatter(KL.reshape(6, 2), prior=True)}
        save(drawn.get(name, FIGURES[name])(), tmp_path / f"{i}.{kind}", SAID)
    first, second = ((tmp_path / f"{i}.{kind}").read_bytes() for i in range(2))
    assert first == second
    assert b"CreationDate" not in first and b"dc:date" not in first


def test_text_in_vector_files_is_text_and_images_are_their_own_pixels(tmp_path):
    figure = samples(IMAGES, "A title")
    save(figure, tmp_path / "a.svg", "a: epoch 12")
    svg = (tmp_path / "a.svg").read_text()
    assert ">A title</text>" in svg and ">a: epoch 12</text>" in svg
    (code,) = re.findall(r'data:image/png;base64,([^"]*)"', svg)
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(code))).convert("RGB"))
    grid = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_array_equal(image, grid)  # 13 x 15 pixels, not those of 300 an inch

    save(figure, tmp_path / "a.pdf", "a: epoch 12")
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf  # TrueType, not outlines
    height, width = grid.shape[:2]
    assert re.search(rb"/Height %d\b" % height, pdf) and re.search(rb"/Width %d\b" % width, pdf)


def texts_and_axes(figure):
    """What is drawn, in pixels of the canvas as it is without a footer."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes]
    boxes += [legend.get_window_extent(renderer) for legend in figure.legends]
    said = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    return boxes + [text.get_window_extent(renderer) for text in said if text.get_gid() is None]


@pytest.mark.parametrize("said", [SAID, LONG], ids=["short", "long"])
@pytest.mark.parametrize("name", FIGURES)
def test_a_footer_overlaps_nothing_and_moves_nothing(name, said, tmp_path):
    figure = FIGURES[name]()
    for _ in range(2):  # a layout comes to rest
        figure.draw_without_rendering()
    plain = np.asarray(Image.open(io.BytesIO(png(figure))).convert("RGB"))
    with with_footer(figure, said) as how:
        (text,) = (text for text in figure.texts if text.get_gid() == "footer")
        assert " ".join(text.get_text().split()).replace(" ", "") == said.replace(" ", "")
        assert text.get_fontsize() == FOOTER < 7
        box = text.get_window_extent(FigureCanvasAgg(figure).get_renderer())
        assert not any(box.overlaps(other) for other in texts_and_axes(figure))
        assert box.x1 <= figure.bbox.width and box.y1 <= 0
        inches = how["bbox_inches"]
        assert inches.y0 * figure.dpi <= box.y0
    save(figure, tmp_path / "a.png", said)
    below = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    # Laid out once more, lines move by a part of a pixel; images are what they were.
    most = 0.005 if figure.get_layout_engine() else 0
    assert (below[: len(plain)] != plain).mean() <= most
    footer = below[len(plain) :]
    assert (footer < 200).any() and (footer[-1] == 255).all() and (footer[:, -1] == 255).all()
    assert not any(text.get_gid() == "footer" for text in figure.texts)
    again = np.asarray(Image.open(io.BytesIO(png(figure))).convert("RGB"))
    assert again.shape == plain.shape and (again != plain).mean() <= most


@pytest.mark.parametrize("kind", ["gif", "webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_film_has_its_frames_one_after_the_other(kind, channels, tmp_path):
    images = RNG.integers(0, 256, (5, 1, 2, 6, 7, channels)).astype(np.float32) / 255
    frames = [frame(each, title="same") for each in images]
    save_film(frames, tmp_path / f"a.{kind}", SAID)
    for i, each in enumerate(frames):
        save(each, tmp_path / f"{i}.png", SAID)
    save_film([tmp_path / f"{i}.png" for i in range(5)], tmp_path / f"b.{kind}")
    assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    with Image.open(tmp_path / f"a.{kind}") as film:
        assert film.n_frames == 5 and film.info["loop"] == 0
        exact = kind == "webp" or channels == 1
        for i in range(5):
            film.seek(i)
            shown = np.asarray(film.convert("RGB"), int)
            expected = np.asarray(Image.open(tmp_path / f"{i}.png").convert("RGB"), int)
            off = np.abs(shown - expected)
            # A GIF has 256 colours, of which 255 are chosen for all 210 of these and for text.
            assert off.max() == 0 if exact else (off.mean() < 4 and (shown[0] == 255).all())


def test_frames_of_several_sizes_stand_on_white(tmp_path):
    for i, size in enumerate([(30, 20), (20, 40)]):
        Image.new("RGB", size, (0, 0, 0)).save(tmp_path / f"{i}.png")
    save_film([tmp_path / "0.png", tmp_path / "1.png"], tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as film:
        assert film.size == (30, 40)
        for i, (width, height) in enumerate([(30, 20), (20, 40)]):
            film.seek(i)
            shown = np.asarray(film.convert("L"))
            assert (shown[:height, :width] == 0).all() and shown.sum() == 255 * (
                30 * 40 - width * height
            )
    with pytest.raises(ValueError, match="frames: there is none"):
        save_film([], tmp_path / "b.gif")
