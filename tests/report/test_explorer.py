"""The explorer in a real browser: sliders, the wheel over the map, the network of a trained run."""

import numpy as np
import pytest

import jaxvae
from jaxvae import Model, report
from jaxvae.evaluation import embed, prepare
from tests.evaluation import subjects
from tests.report import made
from tests.report.browsing import opened
from tests.report.network import compare

pytestmark = pytest.mark.slow

STRIPES = subjects.dataset()
SPREAD = np.array([0.5, 0.0, 2.0, 1.0], np.float32)  # the second latent is the same for all
LOGVAR = np.array([-6.0, 0.0, 0.0, -1.0], np.float32)
NAMES = [f"z{subscript}" for subscript in "\u2081\u2082\u2083\u2084"]


def written(folder, trained):
    return report.write(made.reported(folder, trained, STRIPES), folder / "report.html")


def of_known_spread(family):
    """A model of four latents: z = SPREAD * (what it was), of log-variances LOGVAR."""
    trained = made.trained(Model(family=family, hidden_dims=(16,), latent_dim=4), STRIPES)
    params = trained.variables.model["params"]
    mean = "mean" if family == "VAE" else "code"
    changed = {mean: {"kernel": np.asarray(params[mean]["kernel"]) * SPREAD, "bias": 0 * SPREAD}}
    if family == "VAE":
        changed["logvar"] = {"kernel": 0 * params["logvar"]["kernel"], "bias": LOGVAR}
    variables = trained.variables._replace(model={"params": params | changed})
    return trained._replace(variables=variables)


@pytest.mark.parametrize("family", [pytest.param("VAE", marks=pytest.mark.ci), "AE"])
def test_sliders_stand_in_the_order_of_what_latents_carry(browser, tmp_path, family):
    """By KL, or where there is none by the spread of the codes; what carries nothing is grey."""
    trained = of_known_spread(family)
    codes = embed(trained, prepare(trained, STRIPES.test)).astype(np.float64)
    carries = spread = codes.std(axis=0)
    if family == "VAE":
        carries = ((codes**2).mean(axis=0) + np.exp(LOGVAR) - 1 - LOGVAR) / 2
        assert (np.argsort(carries) != np.argsort(spread)).any()
    order = np.argsort(-carries).tolist()
    assert order[-1] == 1 and order != sorted(order)
    with opened(browser, written(tmp_path, trained)) as page:
        sliders = page.locator(".sliders .latent")
        tops = [slider.bounding_box()["y"] for slider in sliders.all()]
        assert tops == sorted(tops)
        ids = [slider.get_attribute("id") for slider in sliders.locator("input").all()]
        assert ids == [f"z{latent}" for latent in order]
        names = sliders.locator("label").all_inner_texts()
        assert names == [NAMES[latent] for latent in order]
        said = [float(s.strip("snatd ")) for s in sliders.locator("small").all_inner_texts()]
        np.testing.assert_allclose(said, carries[order], rtol=0.006)
        seen = [float(s.evaluate("(e) => getComputedStyle(e).opacity")) for s in sliders.all()]
        assert seen[:3] == [1, 1, 1] and seen[3] < 0.6
        assert "1 of 4 are not used (grey)" in page.locator(".sliders").inner_text()


WATCH = """() => {
  window.kept = []; // by the map: the browser neither scrolls nor zooms the page
  addEventListener('wheel', (event) => window.kept.push(event.defaultPrevented));
}"""


@pytest.mark.ci
def test_the_wheel_zooms_the_map_around_the_pointer(browser, tmp_path):
    """With Ctrl, or once the map was chosen; otherwise it scrolls the page past the map."""
    path = written(tmp_path, made.trained(made.MODELS["dense"], STRIPES))
    with opened(browser, path) as page:
        box = page.locator(".map-marks").bounding_box()
        x, y = (round(box["xy"[i]] + share * box["width"]) for i, share in enumerate((0.3, 0.25)))
        at = [x - box["x"], y - box["y"]]
        page.mouse.move(x, y)
        page.evaluate(WATCH)

        def turned(by):
            """The wheel by so many pixels; where the pointer then is in the plane, and the span."""
            turns = page.evaluate("window.kept.length")
            page.mouse.wheel(0, by)
            page.wait_for_function("(n) => window.kept.length > n", arg=turns)
            return view()

        def view():
            call = "(at) => [...report.explorer.map.toPlane(...at), report.explorer.map.span]"
            *place, span = page.evaluate(call, at)
            return np.array(place), span

        place, span = view()
        page.keyboard.down("Control")
        near, closer = turned(-400)
        far, wider = turned(900)
        page.keyboard.up("Control")
        assert 0.4 * span < closer < 0.7 * span and wider > 1.5 * span
        np.testing.assert_allclose([near, far], [place, place], atol=1e-6 * span)
        assert page.evaluate("window.kept") == [True, True] and page.evaluate("scrollY") == 0

        # Without it the page moves, not the map.
        assert turned(100)[1] == wider
        page.wait_for_function("() => scrollY > 0")
        page.mouse.wheel(0, -100)
        page.wait_for_function("() => scrollY === 0")
        page.locator(".map-marks").focus()
        again, closer = turned(-400)
        assert closer < wider
        np.testing.assert_allclose(again, place, atol=1e-6 * span)
        assert page.evaluate("window.kept") == [True, True, False, False, True]


def test_the_network_of_a_trained_model(browser, tmp_path):
    """Weights that have grown and units that saturate, unlike those that a model begins with."""
    run = jaxvae.train("digits_vae", tmp_path / "run", epochs=15, figures_every=None, quiet=True)
    loss = run.history["val_loss"]
    assert loss[-1] < 0.9 * loss[0]
    with opened(browser, run.report().path) as page:
        compare(page, run.trained, run.dataset.test)
