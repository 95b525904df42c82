"""Pages in a real browser: the network is the model's, and everything on the page does something.

Models have random weights: what a page computes does not depend on what they were trained on.
"""

import base64
import io
import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from jaxvae import Data, Model, Objective, report, runs
from jaxvae.data import Dataset, Split
from jaxvae.evaluation import decode, embed, labels_for, prepare
from jaxvae.evaluation.trained import from_prior
from jaxvae.report.looks import FEW, HELD
from jaxvae.runs import measured
from jaxvae.variants.aggregated import MatchedModel
from jaxvae.variants.categorical import Gumbel, JointModel
from tests.evaluation import subjects
from tests.report import made
from tests.report.browsing import opened
from tests.report.network import compare, decoded
from tests.report.speed import frames_per_second, milliseconds_per_decode

pytestmark = pytest.mark.slow

ON_SCREEN = """(i) => {
  const { map } = report.explorer;
  return map.toScreen(map.points.x[i], map.points.y[i]);
}"""
PAINTED = """() => {
  const canvas = document.querySelector('.map-points');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let count = 0; // of what is no grey
  for (let i = 0; i < data.length; i += 4) {
    const rgb = [data[i], data[i + 1], data[i + 2]];
    count += Math.max(...rgb) - Math.min(...rgb) > 40;
  }
  return count;
}"""
FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""What was asked to be drawn is drawn."""
EVIL = "</script><b onclick='alert(1)'>&"
STRIPES = subjects.dataset()._replace(classes=(EVIL, "even", "odd"))


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """The page of a model, written once."""
    written = {}

    def page(name, model=None, dataset=STRIPES, **settings):
        if name not in written:
            folder, model = tmp_path_factory.mktemp(name), model or made.MODELS[name]
            trained = made.trained(model, dataset, **settings)
            path = report.write(made.reported(folder, trained, dataset), folder / "report.html")
            written[name] = trained, path
        return written[name]

    return page


def shown(page, selector):
    """The grey values of a canvas, in [0, 1]."""
    call = """(selector) => {
      const canvas = document.querySelector(selector);
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      return Array.from(data).filter((_, i) => i % 4 === 0);
    }"""
    return np.array(page.evaluate(call, selector)) / 255


@pytest.mark.parametrize("name", made.MODELS)
def test_the_network_in_the_browser(browser, write, name):
    trained, path = write(name)
    with opened(browser, path) as page:
        compare(page, trained, STRIPES.test)


def test_in_colour_with_odd_sizes_and_other_ranges(browser, write):
    data = made.dataset_of(made.colour)
    settings = {"data": Data("digits", batch_size=8, range=(-1.0, 1.0)), "objective": MSE}
    model = Model(**made.CONV, output="tanh", batch_norm=True)
    trained, path = write("colour", model, data, **settings)
    with opened(browser, path) as page:
        compare(page, trained, data.test)


MSE = Objective("mse")


def test_signals_are_curves(browser, write):
    data = made.dataset_of(made.signals)
    model = Model(**made.CONV, output="linear")
    trained, path = write("signals", model, data, objective=Objective("gaussian"))
    with opened(browser, path) as page:
        z = np.array([0.5, -1.0, 0.2], np.float32)
        truth = decode(made.rounded(trained), z[None])
        standard = (truth - trained.info.center) / np.array(trained.info.scale)
        np.testing.assert_allclose(decoded(page, z), standard.ravel(), atol=1e-3)
        assert page.locator("#own").count() == 0
        assert np.ptp(shown(page, "#reconstructions canvas")) > 0


def test_a_conditional_model_has_a_choice_of_class(browser, write):
    model = replace(runs.load_experiment("conditional_vae").model, hidden_dims=(16,), latent_dim=2)
    trained, path = write("conditional", model)
    with opened(browser, path) as page:
        compare(page, trained, STRIPES.test, label=True)
        z = np.array(page.evaluate("Array.from(report.explorer.z)"), np.float32)
        for label in range(subjects.CLASSES):
            page.select_option("#class", str(label))
            truth = decode(made.rounded(trained), z[None], [label])
            np.testing.assert_allclose(shown(page, ".decoded canvas"), truth.ravel(), atol=0.006)
        # Samples are of each class in turn, and say of which: the first ones and new ones.
        turn = [STRIPES.classes[i % subjects.CLASSES] for i in range(FEW)]
        captions = page.locator("#samples figcaption")
        assert captions.all_inner_texts() == turn
        page.get_by_role("button", name="Draw new ones").click()
        assert captions.all_inner_texts() == turn
        # Or new ones are of the class that is chosen.
        page.evaluate(LISTEN)
        page.select_option("#samples-class", "2")
        assert captions.all_inner_texts() == [STRIPES.classes[2]] * FEW
        codes, labels = zip(*page.evaluate("report.given"), strict=True)
        assert labels == (2,) * FEW
        are_decoded(page, same=made.rounded(trained), codes=codes, labels=labels)
        page.get_by_role("button", name="The first again").click()
        assert captions.all_inner_texts() == turn
        assert page.locator("#samples-class").input_value() == ""


LISTEN = """() => {
  const decode = report.model.decode.bind(report.model);
  report.given = [];
  report.model.decode = (z, label) => {
    report.given.push([Array.from(z), label]);
    return decode(z, label);
  };
}"""
"""Keep what is decoded from now on."""


def are_decoded(page, same, codes, labels=None):
    """The pictures of samples are what JAX decodes from these codes."""
    truth = decode(same, np.array(codes, np.float32), labels)
    for i, image in enumerate(truth, start=1):
        picture = shown(page, f"#samples figure:nth-child({i}) canvas")
        np.testing.assert_allclose(picture, image.ravel(), atol=0.006)


CATEGORIES = {"hidden_dims": (16,), "latent_dim": 3, "categories": 4}
OF_KNOWN_PRIORS = {
    "wae": MatchedModel(hidden_dims=(16,), latent_dim=2),
    "gumbel": Gumbel(**CATEGORIES),
    "joint": JointModel(**CATEGORIES),
    **{name: made.MODELS[name] for name in ("vq", "rq", "fsq")},
}
SEEDED = """() => {
  let state = 1; // of Park and Miller's generator
  Math.random = () => { state = (16807 * state) % 2147483647; return (state - 1) / 2147483646; };
}"""
DRAWS = 2000


def moments(z):
    """Means of all numbers of a code and of the products of any two, with their standard errors."""
    products = (z[:, :, None] * z[:, None]).reshape(len(z), -1)
    each = np.concatenate([z, products], axis=1)
    return each.mean(axis=0), each.std(axis=0) / np.sqrt(len(z))


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.ci] if n == "vq" else []) for n in OF_KNOWN_PRIORS],
)
def test_new_samples_are_of_the_models_prior(browser, write, name):
    """They are decoded from codes whose moments are those of the model's own draws."""
    trained, path = write(name, OF_KNOWN_PRIORS[name])
    own = from_prior(trained, labels_for(trained, DRAWS, None), seed=0)[1]
    with opened(browser, path) as page:
        page.evaluate(SEEDED)
        page.evaluate(LISTEN)
        page.get_by_role("button", name="Draw new ones").click()
        codes = np.array([z for z, _ in page.evaluate("report.given")])
        are_decoded(page, made.rounded(trained), codes.reshape(FEW, *own.shape[1:]))
        many = f"Array.from({{ length: {DRAWS} }}, () => Array.from(report.model.fromPrior()))"
        mean, error = moments(np.array(page.evaluate(many)))
        of_model, its_error = moments(np.asarray(own).reshape(DRAWS, -1))
        assert (np.abs(mean - of_model) <= 5 * np.hypot(error, its_error) + 1e-6).all()
        draw = page.get_by_role("button", name="Draw from the prior")
        assert draw.count() == (name in ("wae", "gumbel", "joint"))  # a map of codes has no sliders
        if draw.count():
            before = page.evaluate("Array.from(report.explorer.z)")
            draw.click()
            assert page.evaluate("Array.from(report.explorer.z)") != before
        circles = page.evaluate("report.explorer.map.circles")
        assert circles == ([1, 2, 3] if name == "wae" else [])


@pytest.mark.parametrize("name", ["vamp_prior_vae", "two_layer_vae"])
def test_new_samples_of_a_learned_prior_are_of_codes_that_the_page_holds(browser, write, name):
    """These are the model's own draws, of which the first samples are the first."""
    trained, path = write(name, replace(runs.load_experiment(name).model, hidden_dims=(8,)))
    own = np.asarray(from_prior(trained, labels_for(trained, HELD, None), seed=0)[1])
    with opened(browser, path) as page:
        part = page.locator("#samples")
        says = (
            f"from {FEW} of {HELD} codes drawn from the model\u2019s prior. The page holds these,"
        )
        assert says in part.inner_text()
        are_decoded(page, trained, own[:FEW])
        page.evaluate(LISTEN)
        part.get_by_role("button", name="Draw new ones").click()
        codes = [tuple(z) for z, _ in page.evaluate("report.given")]
        held = {*map(tuple, own.astype(np.float16).tolist())}
        assert {*codes} <= held and len({*codes}) == FEW  # none of them twice
        are_decoded(page, made.rounded(trained), codes)
        page.get_by_role("button", name="Draw from the prior").click()
        before = page.evaluate("Array.from(report.explorer.z)")
        page.get_by_role("button", name="Draw from the prior").click()
        after = tuple(page.evaluate("Array.from(report.explorer.z)"))
        assert after != tuple(before) and after in held


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gelu_ae", "This model has no prior"),
        ("large_vamp_prior", "the page cannot draw from this prior itself"),
        ("large_decoder", "draws of N(0, I). They were drawn when the page was written"),
    ],
)
def test_what_the_page_cannot_draw_it_says(browser, write, name, says, monkeypatch):
    model = made.MODELS["dense"]
    if name == "large_vamp_prior":
        model = replace(runs.load_experiment("vamp_prior_vae").model, hidden_dims=(8,))
    if name.startswith("large"):
        monkeypatch.setattr("jaxvae.report.weights.LARGEST", 100)
    _, path = write(name, made.MODELS.get(name, model))
    with opened(browser, path) as page:
        part = page.locator("#samples")
        assert says in part.inner_text()
        assert part.get_by_role("button").count() == 0
        assert part.locator("canvas").count() == (0 if name == "gelu_ae" else 2 * FEW)


@pytest.mark.parametrize("columns", [("height", EVIL, "mass"), ()], ids=["named", "nameless"])
def test_a_row_of_a_table_is_told_in_its_own_units(browser, write, columns):
    """Decoded values by the names of their columns, which pictures are drawn in the order of."""
    rng = np.random.default_rng(0)
    rows = Split(rng.normal([5, -40, 0.1], [1, 20, 0.01], (40, 3)).astype(np.float32), None)
    data = Dataset("table", rows, rows, rows, None, "table", columns=columns)
    model = Model(hidden_dims=(8,), latent_dim=2, output="linear")
    trained, path = write(f"table-{len(columns)}", model, data, objective=Objective("gaussian"))
    names = columns or ("1", "2", "3")
    with opened(browser, path) as page:
        page.get_by_text("Its values").click()
        cells = page.locator(".decoded td")
        for z in ([0.3, -0.7], [-1.2, 0.5]):
            page.evaluate("(z) => report.explorer.show(z)", z)
            page.evaluate(FRAMES)
            found = [float(t.replace("\u2212", "-")) for t in cells.all_inner_texts()]
            truth = decode(made.rounded(trained), np.array([z], np.float32)).ravel()
            np.testing.assert_allclose(found, truth, rtol=0.006)
        assert tuple(page.locator(".decoded th").all_inner_texts()) == names
        said = page.locator("#reconstructions .hint").inner_text()
        assert said.endswith(f"From left to right: {', '.join(names)}.")


@pytest.mark.ci
def test_the_page_from_slider_to_drawing(browser, write):
    """All that is done with a page, in one go; JAX says what is right."""
    trained, path = write("batch_norm")
    same = made.rounded(trained)
    with opened(browser, path) as page:
        compare(page, trained, STRIPES.test)

        def is_right():
            page.evaluate(FRAMES)
            z = np.array(page.evaluate("Array.from(report.explorer.z)"), np.float32)
            picture = shown(page, ".decoded canvas")
            np.testing.assert_allclose(picture, decode(same, z[None]).ravel(), atol=0.006)
            return z

        # A slider moves its latent, and the picture to JAX's values.
        before = is_right()
        page.locator("#z0").fill("1.2")
        z = is_right()
        assert z[0] == pytest.approx(1.2, abs=0.02) and z[1] == before[1]
        page.locator("#z1").press("ArrowRight")
        assert is_right()[1] > z[1]

        # Dragging over the map decodes where the pointer is.
        box = page.locator(".map-marks").bounding_box()
        x, y = box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.4
        page.mouse.move(x - 60, y)
        page.mouse.down()
        page.mouse.move(x, y, steps=4)
        page.mouse.up()
        place = page.evaluate(
            "([x, y]) => report.explorer.map.toPlane(x, y)", [x - box["x"], y - box["y"]]
        )
        np.testing.assert_allclose(is_right(), place, atol=0.02)

        # Pointing at a point shows its example.
        px, py = page.evaluate(ON_SCREEN, 4)
        page.mouse.move(box["x"] + px, box["y"] + py)
        i = page.evaluate("([x, y]) => report.explorer.map.pointAt(x, y)", [px, py])
        assert page.locator(".tip").is_visible()
        carried = "(i) => Array.from(row(report.explorer.carried, contents.latents.carried, i))"
        example = np.array(page.evaluate(carried, i)) / 255
        np.testing.assert_allclose(shown(page, ".tip canvas"), example, atol=1e-6)

        # Two clicks on points give the walk between their codes.
        for point in (3, 8):
            px, py = page.evaluate(ON_SCREEN, point)
            page.mouse.click(box["x"] + px, box["y"] + py)
        assert page.locator("#walk canvas").count() == 11
        ends = page.evaluate("report.explorer.walk.map((z) => Array.from(z))")
        middle = np.mean(ends, axis=0, dtype=np.float32)
        found = shown(page, "#walk figure:nth-child(6) canvas")
        np.testing.assert_allclose(found, decode(same, middle[None]).ravel(), atol=0.006)

        # The legend hides a class, and says so; its name is a name.
        first = page.locator(".legend button").first
        assert first.inner_text() == EVIL and page.locator("b[onclick]").count() == 0
        painted = page.evaluate(PAINTED)
        first.click()
        assert page.evaluate(PAINTED) < 0.9 * painted  # a third of the points is gone
        assert first.get_attribute("aria-pressed") == "false"
        assert page.evaluate("[...report.explorer.map.hidden]") == [0]
        hidden = page.evaluate("[...report.explorer.labels].findIndex((label) => label === 0)")
        place = page.evaluate(ON_SCREEN, hidden)
        at = page.evaluate("(place) => report.explorer.map.pointAt(...place)", place)
        assert at is None or page.evaluate("(i) => report.explorer.labels[i]", at) != 0

        # What is drawn is encoded, put on the map and reconstructed.
        page.locator(".sheet").scroll_into_view_if_needed()
        sheet = page.locator(".sheet").bounding_box()
        page.mouse.move(sheet["x"] + 60, sheet["y"] + 50)
        page.mouse.down()
        page.mouse.move(sheet["x"] + 90, sheet["y"] + 180, steps=5)
        page.mouse.up()
        page.evaluate(FRAMES)
        pixels = np.array(page.evaluate("Array.from(report.own.pixels())"), np.float32)
        assert pixels.max() > 0.5
        weight = pixels.reshape(12, 12) / pixels.sum()
        middle = [weight.sum(axis) @ np.arange(12) for axis in (0, 1)]
        np.testing.assert_allclose(
            middle, 5.5, atol=0.6
        )  # it was drawn on the left, and is centred
        image = Split(np.round(255 * pixels).astype(np.uint8).reshape(1, 12, 12, 1), None)
        mean = embed(same, prepare(same, image))
        own = page.evaluate("Array.from(report.explorer.own.mean)")
        np.testing.assert_allclose(own, mean[0], atol=5e-3)  # a pixel of the image is rounded
        assert page.evaluate("report.explorer.own.cloud.length") == 200
        recon = shown(page, "#own figure:nth-child(3) canvas")
        np.testing.assert_allclose(recon, decode(same, mean).ravel(), atol=0.01)

        # New samples, from N(0, I), are others.
        old = shown(page, "#samples canvas")
        page.get_by_role("button", name="Draw new ones").click()
        assert not np.array_equal(shown(page, "#samples canvas"), old)


LEVELS = made.MODELS["fsq"].levels


@pytest.mark.parametrize(("name", "sizes"), [("vq", [8]), ("rq", [8] * 3), ("fsq", LEVELS)])
def test_a_click_changes_a_code(browser, write, name, sizes):
    """What is decoded then is what JAX decodes from the sum of the codes that are framed; of
    rounded numbers, from these."""
    trained, path = write(name)
    books, rounds = len(sizes), name == "fsq"
    same = made.rounded(trained)
    variables = same.variables.model

    def summed(chosen):
        if rounds:
            half = np.asarray(sizes) // 2
            return ((chosen - half) / half).astype(np.float32)
        codes = np.asarray(variables["codebook"]["codes"]).reshape(books, 8, 5)
        return codes[np.arange(books), chosen].sum(axis=2)

    with opened(browser, path) as page:
        part = page.locator("#codebook")
        used = "levels in use" if rounds else "codes in use"
        assert part.locator("h3", has_text=used).count() == books
        assert part.locator("button[aria-pressed]").count() == sum(sizes)

        def held():
            chosen = np.array(page.evaluate("Array.from(report.codes.chosen)"))
            return chosen.reshape(3, 3, books)

        def is_right():
            picture = shown(page, ".places canvas")
            truth = decode(same, summed(held())[None]).ravel()
            np.testing.assert_allclose(picture, truth, atol=0.006)
            return picture

        # The test example's own codes, as the model chooses them.
        first = page.evaluate(
            "Array.from(row(report.explorer.carried, contents.latents.carried, 0))"
        )
        (index,) = np.flatnonzero([(i.ravel() == first).all() for i in STRIPES.test.images])
        batch = prepare(same, STRIPES.test.take(np.array([index])))
        own = np.asarray(same.model.apply(variables, batch).aux["indices"])
        if rounds:
            own = np.stack(np.unravel_index(own, sizes, order="F"), axis=-1)
        own = own.reshape(3, 3, books)
        np.testing.assert_array_equal(held(), own)
        before = is_right()

        # A place is chosen by a click or the arrows, its codes are framed.
        page.locator(".places").scroll_into_view_if_needed()
        box = page.locator(".places").bounding_box()
        page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.9 * box["height"])
        page.locator(".places").press("ArrowRight")
        page.locator(".places").press("ArrowRight")  # there is none further right
        assert "Row 3, column 3: " in part.locator("output").inner_text()
        framed = page.evaluate(FRAMED)
        assert [code for _, code in framed] == own[2, 2].tolist()

        # A click on a code of the last book puts it there, and nowhere else.
        other = (own[2, 2, -1] + 1) % sizes[-1]
        label = f"Code {other} of book {books},"
        if rounds:
            half = sizes[-1] // 2
            value = f"{(other - half) / half:g}".replace("-", "\u2212")
            label = f"Level {value} of channel {books},"
        part.get_by_role("button", name=label).click()
        expected = own.copy()
        expected[2, 2, -1] = other
        np.testing.assert_array_equal(held(), expected)
        assert page.evaluate(FRAMED)[-1] == [books - 1, other]
        assert np.abs(is_right() - before).max() > 0.02
        part.get_by_role("button", name="Its own codes again").click()
        np.testing.assert_array_equal(is_right(), before)

        said = page.locator("#latents").inner_text()
        assert "Between codes there is nothing to decode" in said
        assert ("the sum of one code of each codebook" in said) == (name == "rq")


FRAMED = """report.codes.buttons.filter(({ made }) => made.getAttribute('aria-pressed') === 'true')
  .map(({ book, code }) => [book, code]).sort()"""


def test_many_codes_are_behind_a_line(browser, write):
    _, path = write("many", replace(made.MODELS["vq"], codes=70))
    with opened(browser, path) as page:
        codes = page.locator("#codebook button[aria-pressed]")
        assert codes.count() == 64
        page.get_by_text("6 more").click()
        codes.nth(69).wait_for()
        assert codes.count() == 70


def test_axes_have_marks_at_every_zoom(browser, write):
    """Also where a third of the span is a power of ten but for rounding: 0.1 below that."""
    _, path = write("dense")
    marks = """(span) => {
      const { map } = report.explorer;
      const written = [];
      const context = new Proxy({}, {
        get: (_, name) => (name === 'fillText' ? (text) => written.push(text) : () => {}),
        set: () => true,
      });
      map.span = span;
      map.paintAxes(context);
      return written.length - map.names.filter(Boolean).length;
    }"""
    with opened(browser, path) as page:
        for span in (0.3, 3, 4.9, 30 - 1e-9, 7.1):
            assert 5 <= page.evaluate(marks, span) <= 24, span


@pytest.mark.ci
def test_the_keyboard(browser, write):
    _, path = write("dense")
    with opened(browser, path) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.locator(".map-marks").focus()
        before = page.evaluate("[Array.from(report.explorer.z), report.explorer.map.span]")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowUp")
        page.evaluate(FRAMES)
        z = np.array(page.evaluate("Array.from(report.explorer.z)"))
        np.testing.assert_allclose(z - before[0], before[1] / 60, rtol=1e-3)
        assert "z = (" in page.locator(".decoded output").inner_text()
        page.keyboard.press("+")
        assert page.evaluate("report.explorer.map.span") < before[1]
        page.keyboard.press("0")
        assert page.evaluate("report.explorer.map.span") == pytest.approx(before[1])
        page.locator(".legend button").nth(1).focus()
        page.keyboard.press("Space")
        assert page.evaluate("[...report.explorer.map.hidden]") == [1]


NAMELESS = """() => [...document.querySelectorAll('button, input, select, canvas, img, summary')]
  .filter((e) => !e.closest('[aria-hidden], [hidden]') && e.getAttribute('aria-hidden') !== 'true')
  .filter((e) => !(e.getAttribute('aria-label') || e.alt || e.textContent.trim() || e.labels?.length
    || e.closest('[role=img][aria-label]')))
  .map((e) => e.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize(
    "name", ["dense", pytest.param("vq", marks=pytest.mark.ci), "rq", "fsq", "conv", "cae"]
)
def test_all_that_can_be_used_or_seen_has_a_name(browser, write, name):
    _, path = write(name)
    with opened(browser, path) as page:
        assert page.evaluate(NAMELESS) == []
        assert page.evaluate("document.querySelectorAll('h1').length") == 1
        sections = page.locator("section").all()
        titles = [part.get_attribute("aria-labelledby") for part in sections]
        assert all(page.locator(f"#{title}").count() == 1 for title in titles)


def test_measures_and_pictures_of_earlier_epochs(browser, tmp_path):
    """What was measured in tables, with what is old said; the slider moves pictures and loss."""
    trained = made.trained(made.MODELS["dense"], STRIPES)
    run = made.reported(tmp_path, trained, STRIPES)
    for epoch in (1, 2):
        folder = tmp_path / "figures" / f"epoch-{epoch:04d}"
        folder.mkdir(parents=True)
        Image.new("RGB", (40, 30), (120 * epoch, 0, 0)).save(folder / "samples.png")
    options = {"checkpoint": "best", "source": "digits", "split": "test", "limit": 12}
    probes = {"knn_1": 0.75, "knn_1_se": 0.0123, "knn_1_pixels": 0.5, "knn_1_pixels_se": 0.04}
    kl = {f"kl_{i}": 0.1 * i for i in range(1, 16)}
    measured.keep(
        tmp_path,
        [
            measured.Record("probes", options, probes, (EVIL,), 18, 12),
            measured.Record("units", options, {"active": 2.0, **kl}, (), 9, 12),
            measured.Record("nll", options | {"source": EVIL}, {"nll": -1234.5678}, (), 18, 12),
        ],
    )
    path = report.write(run, tmp_path / "report.html")
    with opened(browser, path) as page:
        assert page.evaluate(NAMELESS) == [] and page.locator("b[onclick]").count() == 0
        cells = page.locator("#measures-probes td").all_inner_texts()
        assert cells == ["0.750 ± 0.012", "0.500 ± 0.040"]
        head = page.locator("#measures-probes tbody th").inner_text()
        assert head.startswith("knn 1 ↑") and "accuracy of the majority" in head
        assert f"{EVIL}." in page.locator("#measures-probes").inner_text()
        assert page.locator("#measures [role=note]").all_inner_texts() == [
            "Measured at epoch 1. The model of this page is that of epoch 2."
        ]
        # Of 16 rows the first are seen, the others behind a line.
        assert page.locator("#measures-units tbody tr:visible").count() == 12
        page.get_by_text("4 more").click()
        assert page.locator("#measures-units tbody tr:visible").count() == 16
        assert "\u22121235" in page.locator("#measures-nll td").inner_text()
        assert f"of {EVIL}, not the run's own data" in page.locator("#measures-nll").inner_text()
        again = page.locator("#measures-probes code")
        assert not again.is_visible()
        page.locator("#measures-probes summary").click()
        assert again.inner_text() == "jaxvae evaluate RUN --metrics probes --limit 12"

        part = page.locator("#while-training")
        part.scroll_into_view_if_needed()

        def red():
            return page.evaluate(RED)

        assert red() == 240 and "epoch 2: " in part.locator(".readout").inner_text()
        page.locator("#epoch").press("ArrowLeft")
        assert red() == 120 and part.locator("output").inner_text() == "1"
        assert "validation 8" in part.locator(".readout").inner_text()
        over = part.locator(".u-over").bounding_box()
        page.mouse.click(over["x"] + 0.9 * over["width"], over["y"] + 40)
        assert red() == 240 and page.locator("#epoch").input_value() == "1"
        assert part.locator("output").inner_text() == "2, the best"
    for width in (360, 768):
        with opened(browser, path, width, "dark") as page:
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_pictures_of_a_population_say_whose_they_are(browser, tmp_path):
    """The page is of member 1, whose curve it has; at its best epoch another one was the best."""
    run = made.reported(tmp_path, made.trained(made.MODELS["dense"], STRIPES), STRIPES, number=1)
    for epoch, member in ((1, 1), (2, 0)):
        folder = tmp_path / "figures" / f"epoch-{epoch:04d}-member-{member}"
        folder.mkdir(parents=True)
        Image.new("RGB", (40, 30)).save(folder / "samples.png")
    with opened(browser, report.write(run, tmp_path / "report.html")) as page:
        part = page.locator("#while-training")
        assert "each of the member of the lowest validation loss at that epoch" in part.inner_text()
        assert "The curve is that of member 1." in part.inner_text()
        assert part.locator("output").inner_text() == "2, member 0"
        page.locator("#epoch").press("ArrowLeft")
        assert part.locator("output").inner_text() == "1, member 1"
        assert part.locator("img").get_attribute("alt") == "samples after epoch 1, member 1"
        assert page.locator("#epoch").get_attribute("aria-valuetext") == "epoch 1, member 1"


RED = """async () => {
  const image = document.querySelector('#while-training img');
  await image.decode();
  const canvas = new OffscreenCanvas(1, 1);
  canvas.getContext('2d').drawImage(image, 0, 0);
  return Math.round(canvas.getContext('2d').getImageData(0, 0, 1, 1).data[0] / 10) * 10;
}"""


IN_CI = (("vq", 360, "dark"), ("vq", 1920, "light"))
WINDOWS = [
    pytest.param(*each, marks=[pytest.mark.ci] if each in IN_CI else [])
    for each in itertools.product(
        ("dense", "conv", "vq", "rq", "fsq"), (360, 768, 1280, 1920), ("light", "dark")
    )
]


@pytest.mark.parametrize(("name", "width", "scheme"), WINDOWS)
def test_nothing_is_wider_than_the_window(browser, write, name, width, scheme):
    _, path = write(name)
    with opened(browser, path, width, scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        box = page.locator(".map").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width


def luminance(page, name):
    """Relative luminance (WCAG 2) of a colour of the style sheet."""
    text = page.evaluate("(name) => color(name)", name)
    parts = np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


COLOURED = """(ink) => {
  const canvas = document.querySelector('.map-points');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const wanted = [1, 3, 5].map((at) => parseInt(ink.slice(at, at + 2), 16));
  let count = 0;
  for (let at = 0; at < data.length; at += 4) {
    count += data[at + 3] > 200 && wanted.every((value, c) => Math.abs(data[at + c] - value) < 8);
  }
  return count;
}"""
"""How many pixels of the map's points and axes are of a colour of the style sheet."""


@pytest.mark.ci
def test_contrast_and_print(browser, write):
    """Text has a contrast of at least 4.5 (WCAG 2 AA), in either scheme; paper is white."""
    _, path = write("dense")
    for scheme in ("light", "dark"):
        with opened(browser, path, scheme=scheme) as page:
            paper, ground = luminance(page, "--paper"), luminance(page, "--ground")
            for name in ("--ink", "--muted", "--accent"):
                for behind in (paper, ground):
                    pair = sorted([luminance(page, name), behind])
                    assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (scheme, name)
            assert (paper > 0.9) == (scheme == "light")
            page.evaluate("dispatchEvent(new Event('beforeprint'))")
            page.emulate_media(media="print")
            assert luminance(page, "--paper") > 0.9 and luminance(page, "--ink") < 0.1
            # The map is drawn in the colours of paper, and none of its canvases clears another.
            assert page.evaluate(COLOURED, page.evaluate("color('--line')")) > 100
            width = page.evaluate("document.querySelector('.map-points').width")
            printed = re.findall(rb"/Width (\d+)", page.pdf())
            assert printed.count(str(width).encode()) >= 2


def test_on_paper_the_map_is_on_the_first_page(browser, write):
    """Beside the sliders of ten latents, with which it is moved as a whole."""
    _, path = write("ten", Model(hidden_dims=(8,), latent_dim=12))
    with opened(browser, path, width=round(180 * PER_MM)) as page:
        page.emulate_media(media="print")
        box = page.locator(".explorer").bounding_box()
        assert box["y"] + box["height"] < 267 * PER_MM  # A4 within its margins of 15 mm
        tiles = {tile.bounding_box()["y"] for tile in page.locator(".tile").all()}
        assert len(tiles) == 1  # in one row
        sliders = page.locator(".sliders .latent").all()[:10]
        tops = [slider.bounding_box()["y"] for slider in sliders]
        names = page.locator(".sliders .kl small").all()[:10]
        ends = [sum(name.bounding_box()[side] for side in ("y", "height")) for name in names]
        assert all(end <= top for end, top in zip(ends, tops[1:], strict=False))


PER_MM = 96 / 25.4


def test_axes_of_the_map_are_two_latents_or_two_components(browser, write):
    _, path = write("conv")
    with opened(browser, path) as page:
        horizontal, vertical = page.locator(".axes select").all()
        codes = page.evaluate("Array.from(report.explorer.codes)")
        codes = np.array(codes).reshape(-1, 3)
        horizontal.select_option("2")
        assert vertical.input_value() in ("0", "1")  # a component has no place beside a latent
        other = int(vertical.input_value())
        points = "Array.from(report.explorer.map.points.{})"
        x, y = (page.evaluate(points.format(name)) for name in "xy")
        np.testing.assert_allclose(x, codes[:, 2], atol=1e-6)
        np.testing.assert_allclose(y, codes[:, other], atol=1e-6)
        vertical.select_option("pc")
        assert horizontal.input_value() == "pc"
        # Moving in the plane of the components keeps what is at right angles to it.
        before = np.array(page.evaluate("Array.from(report.explorer.z)"))
        page.evaluate("report.explorer.moveTo(0.3, -0.2)")
        page.evaluate(FRAMES)
        step = np.array(page.evaluate("Array.from(report.explorer.z)")) - before
        directions = np.array(page.evaluate("contents.latents.plane.directions"))
        np.testing.assert_allclose(step, directions.T @ (directions @ step), atol=1e-5)


def test_a_grid_in_the_place_of_a_decoder(browser, write, monkeypatch):
    monkeypatch.setattr("jaxvae.report.weights.LARGEST", 100)
    trained, path = write("too_large", made.MODELS["dense"])
    with opened(browser, path) as page:
        assert page.locator(".note").count() == 3  # decoder, encoder, and what is shown instead
        assert page.locator(".latent").count() == 0 and page.locator("#own").count() == 0
        low = np.array(page.evaluate("contents.grid.low"), np.float32)
        np.testing.assert_allclose(
            decoded(page, low) / 255, decode(trained, low[None]).ravel(), atol=0.004
        )


def test_a_file_is_encoded(browser, write, tmp_path):
    _, path = write("dense")
    Image.new("RGB", (50, 30), (255, 255, 255)).save(tmp_path / "white.png")
    (tmp_path / "text.png").write_text("no image")
    with opened(browser, path) as page:
        page.set_input_files("#own-file", tmp_path / "white.png")
        page.wait_for_function("() => Math.min(...report.own.pixels()) > 0.999")
        page.locator("#own-invert").check()
        assert page.evaluate("Math.max(...report.own.pixels())") == pytest.approx(0)
        page.set_input_files("#own-file", tmp_path / "text.png")
        page.get_by_text("not an image").wait_for()


def test_a_file_that_is_dropped_is_encoded(browser, write):
    trained, path = write("dense")
    halves = np.repeat(np.array([[51, 204]], np.uint8), 6, axis=1).repeat(12, axis=0)
    file = io.BytesIO()
    Image.fromarray(halves).resize((280, 280), Image.Resampling.NEAREST).save(file, "png")
    with opened(browser, path) as page:
        prevented = page.evaluate(DROP, base64.b64encode(file.getvalue()).decode())
        assert prevented == [True, True]  # the browser does not leave for the file
        assert page.locator("#own.over").count() == 0
        page.wait_for_function("() => report.explorer.own !== null")
        pixels = page.evaluate("Array.from(report.own.pixels())")
        np.testing.assert_allclose(pixels, halves.ravel() / 255, atol=0.01)
        mean = embed(made.rounded(trained), prepare(trained, halves[None, :, :, None]))
        found = page.evaluate("Array.from(report.explorer.own.mean)")
        np.testing.assert_allclose(found, mean[0], atol=5e-3)
        assert np.ptp(shown(page, "#own figure:nth-child(3) canvas")) > 0


DROP = """(letters) => {
  const bytes = Uint8Array.from(atob(letters), (letter) => letter.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], 'halves.png', { type: 'image/png' }));
  const fire = (type) => {
    const event = new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true });
    document.querySelector('.sheet').dispatchEvent(event);
    return event.defaultPrevented;
  };
  return [fire('dragover'), fire('drop')];
}"""
"""A file is held over the sheet and let go; whether what a browser does itself is prevented."""


def test_the_largest_usual_decoder_is_fast(browser, write):
    """784-512-256-2, as mnist_vae_2d: ten milliseconds are a third of a frame at 30 a second."""
    rng = np.random.default_rng(0)
    images = Split(rng.integers(0, 256, (50, 28, 28, 1), np.uint8), np.zeros(50, np.int32))
    data = Dataset("noise", images, images, images, None, "noise")
    _, path = write("large", Model(hidden_dims=(512, 256), latent_dim=2), data)
    assert path.stat().st_size < 8e6
    with opened(browser, path) as page:
        assert milliseconds_per_decode(page) < 10
        assert frames_per_second(page) > 5  # on a machine that does other work; alone it is 60
