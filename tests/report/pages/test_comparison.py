"""What the page of several runs says, and that it is what their files and models say."""

from dataclasses import replace

import jax
import numpy as np
import pytest

import jaxvae
from jaxvae import Data, Model, Population, Train, evaluation, runs
from jaxvae.checks import UsageError
from jaxvae.data import Split
from jaxvae.report import blobs, comparison, html
from jaxvae.runs import listing
from jaxvae.variants.aggregated import MatchedModel
from tests.commands import call
from tests.evaluation import subjects
from tests.report import made
from tests.report.pages import several
from tests.report.test_page import Reader, of_page


@pytest.fixture(scope="module")
def top(tmp_path_factory):
    return tmp_path_factory.mktemp("compared")


@pytest.fixture(scope="module")
def four(top):
    return several.four(top)


@pytest.fixture(scope="module")
def said(top, four):
    kept = blobs.Blobs()
    found = comparison.contents(several.found(four), four, top / "pages" / "c.html", kept)
    return found, kept


# What a model makes of examples and codes


def test_the_same_examples_and_the_same_codes(four, said):
    """Beside each other stand reconstructions and errors as `evaluation` has them, and codes that
    are one draw of N(0, I), whatever the model."""
    found, kept = said
    (first, *others) = found["examples"]
    assert [run["run"] for run in first["runs"]] == [0, 1, 2]
    rows = np.array(first["index"])
    assert len(rows) == comparison.IMAGES and len({*rows}) == len(rows)
    images = several.STRIPES.test.images[rows]
    np.testing.assert_array_equal(kept.read(first["originals"]), images)
    models = [several.trained(*given) for given in (("dense", 3), ("dense", 4), ("gelu_ae", 3))]
    for one, trained in zip(first["runs"], models, strict=True):
        batch = evaluation.prepare(trained, several.STRIPES.test.take(rows), rows)
        recon = evaluation.reconstruct(trained, batch)
        np.testing.assert_allclose(kept.read(one["images"]) / 255, recon, atol=0.51 / 255)
        error = np.square(recon - images / 255).mean(axis=(1, 2, 3))
        np.testing.assert_allclose(one["error"], error, rtol=1e-4)
    (waves,) = others
    assert (waves["kind"], waves["shape"]) == ("signal", [16, 2])
    assert [run["run"] for run in waves["runs"]] == [3]
    two, three = found["latents"]["groups"]
    assert (two["latents"], three["latents"]) == (2, 3) and found["latents"]["others"] == [2]
    z = comparison.codes(2)
    for one, trained in zip(two["runs"], models[:2], strict=True):
        decoded = evaluation.decode(trained, z)
        np.testing.assert_allclose(kept.read(one["images"]) / 255, decoded, atol=0.51 / 255)


def test_codes_are_standard_normal_and_fixed():
    """1200 numbers: mean and variance within 4 of their standard errors."""
    z = comparison.codes(100)
    np.testing.assert_array_equal(z, comparison.codes(100))
    assert abs(z.mean()) < 4 / np.sqrt(z.size) and abs(z.var() - 1) < 4 * np.sqrt(2 / z.size)


def test_a_conditional_model_decodes_each_class_in_turn(tmp_path):
    model = replace(runs.load_experiment("conditional_vae").model, hidden_dims=(16,), latent_dim=2)
    run = several.folder_of(tmp_path / "run", model)
    seen = comparison.look(run)
    labels = np.arange(comparison.IMAGES) % subjects.CLASSES
    decoded = evaluation.decode(run.trained, comparison.codes(2), labels)
    np.testing.assert_allclose(seen.decoded / 255, decoded, atol=0.51 / 255)
    assert seen.classes


def test_a_deterministic_encoder_with_the_prior_decodes_the_same_codes(tmp_path):
    """As of a WAE, which has no KL."""
    model = MatchedModel(hidden_dims=(16,), latent_dim=2)
    each = [several.compared(several.folder_of(tmp_path / "wae", model))]
    each.append(several.compared(several.folder_of(tmp_path / "vae", made.MODELS["dense"])))
    kept = blobs.Blobs()
    found = comparison.contents(several.found(each), each, tmp_path / "c.html", kept)
    (group,) = found["latents"]["groups"]
    assert [one["run"] for one in group["runs"]] == [0, 1] and found["latents"]["others"] == []
    decoded = evaluation.decode(several.trained(model, 3), comparison.codes(2))
    images = kept.read(group["runs"][0]["images"])
    np.testing.assert_allclose(images / 255, decoded, atol=0.51 / 255)


def test_other_examples_stand_apart(tmp_path):
    """As many, as large, and one pixel of one that is shown is another."""
    test = several.STRIPES.test
    one = comparison.look(several.folder_of(tmp_path / "a", made.MODELS["dense"]))
    images = test.images.copy()
    images[one.rows[3], 2, 2, 0] ^= 1
    other = several.STRIPES._replace(test=Split(images, test.labels))
    two = comparison.look(several.folder_of(tmp_path / "b", made.MODELS["dense"], other))
    assert one.examples != two.examples
    again = several.STRIPES._replace(test=Split(test.images.copy(), test.labels))
    same = comparison.look(several.folder_of(tmp_path / "c", made.MODELS["dense"], again))
    assert one.examples == same.examples


def test_what_is_not_drawn_is_refused(tmp_path):
    run = several.folder_of(tmp_path / "run", made.MODELS["dense"])
    odd = run.trained._replace(info=replace(run.trained.info, shape=(2, 2, 2, 2), maximum=None))
    with pytest.raises(UsageError, match="examples of shape 2x2x2x2 are not drawn"):
        comparison.look(run._replace(trained=odd))


# What it says of the runs


def test_classes_are_called_without_their_modules(top):
    """Their whole names are wider than a table has room for."""
    each = [several.folder_of(top / name, made.MODELS[name]) for name in ("vq", "rq", "fsq")]
    runs_of = [several.compared(run, seen="not looked at") for run in each]
    settings = of_page(several.page(top, runs_of).read_text())["settings"]
    assert {s["name"]: s["values"] for s in settings}["model"] == ["VQ", "RQ", "FSQ"]


def test_numbers_are_those_of_the_files(top, four, said):
    found, _ = said
    assert [run["name"] for run in found["runs"]] == ["a", four[1].folder.name, "ae", "waves"]
    for run, one in zip(four, found["runs"], strict=True):
        row = runs.best_row(runs.read_metrics(run.folder / "metrics.csv"))
        assert one["best"] == {n: row[n] for n in ("epoch", *listing.TERMS)}
        assert one["state"] == "stopped"
    assert [run["link"] for run in found["runs"]] == ["../a/report.html", None, None, None]
    assert found["runs"][1]["member"] == "member 2 of 3" and found["runs"][0]["member"] == ""
    settings = {each["name"]: each["values"] for each in found["settings"]}
    assert settings["model.family"] == ["VAE", "VAE", "AE", "VAE"]
    assert settings["model.hidden_dims"] == ["16 8", "16 8", "16", "8"]
    assert not {*settings} & {"name", "train.report"}
    assert len({run["color"] for run in found["runs"]}) == 4


def test_a_point_for_every_model(said):
    """A model without a KL has no rate."""
    found, _ = said
    by_run = {i: [p for p in found["points"] if p["run"] == i] for i in range(4)}
    assert [len(points) for points in by_run.values()] == [1, 3, 1, 1]
    assert [(p["recon"], p["kl"]) for p in by_run[1]] == [(20.0, 5.0), (21.0, 4.0), (22.0, 3.0)]
    assert by_run[1][2]["words"] == "member 2: beta 2"
    (a,), (ae,) = by_run[0], by_run[2]
    assert (a["recon"], a["kl"], a["epoch"]) == pytest.approx((30.0, 100 / 30, 3))
    assert ae["kl"] is None and ae["recon"] == pytest.approx(36.0)


def test_curves_are_on_the_epochs_of_all(four, said):
    found, _ = said
    drawn = found["curves"]
    assert drawn["epoch"] == [*range(1, several.LONGER + 1)]
    panels = {panel["title"]: panel["series"] for panel in drawn["panels"]}
    loss = {(one["run"], one["of"]): one["values"] for one in panels["Loss"]}
    assert len(loss) == 9 and panels["Loss"][0]["of"] == "member"  # so behind all others
    behind = [one for one in panels["Loss"] if one["of"] == "member"]
    assert [one["run"] for one in behind] == [1, 1]
    for one, k in zip(behind, (1.1, 1.2), strict=True):
        values = [k * row["val_loss"] for row in four[1].rows[:3]]
        np.testing.assert_allclose(one["values"][:3], values, rtol=1e-4)
        assert one["values"][3:] == [None] * (several.LONGER - 3)
    for i, run in enumerate(four):
        ends = [None] * (several.LONGER - len(run.rows))
        assert loss[i, ""] == [row["val_loss"] for row in run.rows] + ends
        assert loss[i, "training"] == [row["train_loss"] for row in run.rows] + ends
    assert {one["run"] for one in panels["KL divergence"]} == {0, 1, 3}  # an AE's is always 0
    assert found["alone"] == []


def test_terms_of_one_run_alone_are_named_and_not_drawn(top, four):
    own = four[0]._replace(rows=[row | {"val_l1": 3.0} for row in four[0].rows])
    each = [own, *four[1:]]
    found = comparison.contents(several.found(each), each, top / "c.html", blobs.Blobs())
    assert found["alone"] == ["L1 (a)"]
    assert "l1" not in [panel["title"] for panel in found["curves"]["panels"]]


def test_epochs_that_one_has_not(tmp_path, four):
    """A gap within is a gap, and not a shift."""
    gap = four[0]._replace(rows=four[0].rows[::2])
    each = [gap, four[1]]
    found = comparison.contents(several.found(each), each, tmp_path / "c.html", blobs.Blobs())
    loss = next(p["series"] for p in found["curves"]["panels"] if p["title"] == "Loss")
    values = next(one["values"] for one in loss if (one["run"], one["of"]) == (0, ""))
    assert values == [100.0, None, pytest.approx(100 / 3), None]


def test_measures_side_by_side(tmp_path):
    """Of the same group, options and examples; what is of an earlier epoch says of which."""
    model = made.MODELS["dense"]
    each = [several.compared(several.folder_of(tmp_path / n, model)) for n in "abc"]
    for i, run in enumerate(each):
        knn = {"knn_5": 0.5 + i / 10, "knn_5_se": 0.01, "knn_5_pixels": 0.9}
        several.measure(run, "probes", knn, seed=0 if i < 2 else 1, step=18 if i else 27)
    found = comparison.contents(several.found(each), each, tmp_path / "c.html", blobs.Blobs())
    (table,) = found["measures"]
    assert table["title"] == "Classifiers on codes" and table["epochs"] == [None, 2, None]
    assert (table["of"], table["settings"]) == ("30 test examples of digits", "seed 0")
    codes, pixels = table["rows"]
    assert codes["values"] == [
        {"value": 0.5, "error": 0.01},
        {"value": 0.6, "error": 0.01},
        None,
    ]
    assert (codes["name"], codes["better"]) == ("knn_5", "higher")
    assert codes["text"] == "accuracy of the majority of so many nearest codes"
    assert pixels["text"].endswith("codes: on pixels") and pixels["values"][0]["error"] is None


def test_without_pictures_it_says_why(tmp_path, four):
    each = [four[0]._replace(seen="no complete checkpoint"), four[2]._replace(seen="gone")]
    found = comparison.contents(several.found(each), each, tmp_path / "c.html", blobs.Blobs())
    assert [run["lacks"] for run in found["runs"]] == ["no complete checkpoint", "gone"]
    assert found["examples"] == [] and found["latents"] == {"groups": [], "others": []}


def test_ten_runs_are_a_small_page(tmp_path, four):
    """12 images and 12 codes a run, whatever the test set holds; runs share colours after ten."""
    folders = []
    for i in range(12):
        run = several.folder_of(tmp_path / str(i), made.MODELS["dense"])
        folders.append(four[0]._replace(folder=run.folder, rows=run.rows))
    kept = blobs.Blobs()
    found = comparison.contents(several.found(folders), folders, tmp_path / "c.html", kept)
    assert len(kept.packed) == 1 + 12 + 12
    assert all(
        len(kept.read({"blob": n, "dtype": "uint8", "shape": [12, 12, 12, 1]})) == 12
        for n in kept.packed
    )
    looks = {(run["color"], run["dashed"]) for run in found["runs"]}
    assert len(looks) == 12 and [run["dashed"] for run in found["runs"]] == [0] * 10 + [1] * 2


def test_one_file_that_asks_for_nothing(top, four):
    text = several.page(top, four).read_text()
    reader = Reader(text)
    assert set(reader.links) == {"#main", "data:,"} and "b" not in reader.tags
    assert "The MIT License" in text and "default-src 'none'" in text
    scripts = len(comparison.SCRIPTS) + 1 + text.count('id="blob-')
    assert reader.tags.count("script") == scripts
    assert of_page(text)["runs"][1]["name"] == four[1].folder.name
    assert {*comparison.SCRIPTS} - {"comparison.js"} <= {*html.SCRIPTS}  # drawn by the same code


# From folders


SMALL = jaxvae.Experiment(
    "small",
    data=Data("digits", batch_size=16, limit=48),
    model=Model(hidden_dims=(8,), latent_dim=2),
    train=Train(epochs=2, figures_every=None),
)


@pytest.mark.slow
@pytest.mark.ci
def test_the_commands(capsys, caplog, tmp_path):
    """A run, an AE, a population and one without checkpoints, from train to page."""
    top = tmp_path / "runs"
    run = jaxvae.train(SMALL, top / "a", quiet=True)
    other = replace(SMALL.data, batch_size=12)
    wide = replace(SMALL, data=other, model=replace(SMALL.model, family="AE"))
    jaxvae.train(wide, top / "ae", quiet=True)
    swept = Population(sweep=("objective.beta=0.1,1,8",))
    population = jaxvae.train(SMALL, top / "pop", population=swept, quiet=True)
    lost = run.save(top / "lost")
    for path in sorted((lost.folder / "checkpoints").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    given = [top / name for name in ("a", "ae", "pop", "lost")]
    page = tmp_path / "compare.html"
    caplog.clear()
    status, result, _ = call(capsys, "compare", *given, "--page", page)
    assert caplog.text.count("digits: 1,797 images") == 1  # of all runs, in batches of any size
    assert status == 0 and result["bytes"] == page.stat().st_size and result["page"] == str(page)
    assert "lost: no pictures: " in caplog.text
    found = of_page(page.read_text())
    a, _, pop, _ = found["runs"]
    assert a["best"] == {n: run.summary["best"][n] for n in a["best"]} and len(a["best"]) == 5
    members = population.summary["members"]
    best = min(members, key=lambda member: member["best"]["val_loss"])
    assert pop["member"].startswith(f"member {best['member']} of 3")
    assert pop["best"]["val_loss"] == best["best"]["val_loss"]
    loss = next(p["series"] for p in found["curves"]["panels"] if p["title"] == "Loss")
    assert [one["run"] for one in loss if one["of"] == "member"] == [2, 2]
    points = [point for point in found["points"] if point["run"] == 2]
    assert [p["recon"] for p in points] == [m["best"]["val_recon"] for m in members]
    assert [p["words"] for p in points][2] == "member 2: beta 8"
    settings = {each["name"]: each["values"] for each in found["settings"]}
    assert float(settings["objective.beta"][2]) == best["objective.beta"]
    (group,) = found["examples"]
    assert [one["run"] for one in group["runs"]] == [0, 1, 2]
    assert [run["lacks"] != "" for run in found["runs"]] == [False, False, False, True]
    # The member's own weights are shown.
    member = population.member(best["member"])
    rows = np.array(group["index"])
    test = member.dataset.test
    recon = member.reconstruct(test.images[rows])
    error = np.square(recon - test.images[rows] / 255).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(group["runs"][2]["error"], error, rtol=1e-3)

    status, result, _ = call(capsys, "runs", top, "--page", top / "index.html")
    assert status == 0 and len(result["runs"]) == 4
    assert len(of_page((top / "index.html").read_text())["runs"]) == 4


@pytest.mark.slow
def test_in_python_with_arrays_in_memory(tmp_path):
    rng = np.random.default_rng(0)
    data = Data(rng.integers(0, 256, (60, 6, 6), np.uint8), batch_size=12)
    memory = replace(SMALL, data=data)
    each = [jaxvae.train(replace(memory, seed=seed), quiet=True) for seed in (0, 1)]
    page = jaxvae.compare(*each, path=tmp_path / "c.html")
    found = of_page(page.path.read_text())
    assert [run["lacks"] for run in found["runs"]] == ["", ""]
    assert len(found["examples"][0]["runs"]) == 2
    assert page._repr_html_().startswith("<iframe")
    with pytest.raises(UsageError, match=r"path = 'c\.txt': must be the path of an \.html"):
        jaxvae.compare(*each, path="c.txt")
    with pytest.raises(UsageError, match="two at least"):
        jaxvae.compare(each[0], path=tmp_path / "c.html")


def test_what_is_refused(capsys, tmp_path, four):
    given = [four[0].folder, four[2].folder]
    status, _, err = call(capsys, "compare", *given, "--page", tmp_path / "a.pdf")
    assert status == 2 and "--page" in err and "must be an .html file" in err
    status, _, err = call(capsys, "compare", *given, "--trust-code")
    assert status == 2 and "--page" in err
    status, _, err = call(capsys, "runs", four[0].folder, "--page", tmp_path)
    assert status == 2 and "must be an .html file" in err
    assert jax.tree.leaves([*tmp_path.iterdir()]) == []
