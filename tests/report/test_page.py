"""What a page says, and the file that it becomes."""

import base64
import dataclasses
import io
import json
import math
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import jaxvae
from jaxvae import Data, Model, Population, Train, evaluation, report, runs
from jaxvae.checks import UsageError
from jaxvae.cli.main import _train_defaults
from jaxvae.cli.options import TrainOptions
from jaxvae.cli.parsing import parse
from jaxvae.report import blobs, facts, html, looks, measures
from jaxvae.report.contents import curves
from jaxvae.runs import measured
from jaxvae.runs.classes import class_name
from jaxvae.runs.measured import Record
from jaxvae.training import loop
from tests.commands import call
from tests.evaluation import subjects
from tests.report import made

EVIL = "</script><b>&\"'{{title}}"
IMAGES = np.random.default_rng(0).integers(0, 256, (60, 6, 6), np.uint8)
LABELS = np.array([EVIL, "even", "odd"])[np.arange(60) % 3]
SMALL = jaxvae.Experiment(
    "small",
    data=Data(IMAGES, LABELS, batch_size=12),
    model=Model(hidden_dims=(8,), latent_dim=2),
    train=Train(epochs=2, figures_every=None),
)


@pytest.fixture(scope="module")
def run():
    return jaxvae.train(SMALL, quiet=True)


@pytest.fixture(scope="module")
def page(run) -> str:
    return run.report().path.read_text()


class Reader(HTMLParser):
    """Elements and the texts in them, as a browser reads them."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.texts: dict[str, str] = {}
        self.links: list[str] = []
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        own = dict(attributes)
        self.tags.append(tag)
        self._open = own.get("id", tag)
        self.links += [own[name] for name in ("src", "href") if own.get(name)]

    def handle_data(self, data):
        self.texts[self._open] = self.texts.get(self._open, "") + data


def of_page(page: str) -> dict:
    return json.loads(Reader(page).texts["contents"])


# The file


def test_one_file_that_asks_for_nothing(page):
    reader = Reader(page)
    assert set(reader.links) == {"#main", "data:,"}
    assert "default-src 'none'" in page
    code = re.sub(r"/\*.*?\*/|<!--.*?-->", "", page, flags=re.DOTALL)
    assert not re.search(r"https?://(?!www\.w3\.org/)", code)
    assert not re.search(r"\bfetch\(|XMLHttpRequest|WebSocket|@import|url\(|import\(", code)
    assert "The MIT License" in page and "Leon Sorokin" in page


def test_names_are_data_and_never_html(page):
    reader = Reader(page)
    assert "b" not in reader.tags
    assert of_page(page)["classes"] == [EVIL, "even", "odd"]
    assert reader.tags.count("script") == len(html.SCRIPTS) + 1 + page.count('id="blob-')
    assert reader.texts["title"].strip() == "small - jaxvae"


def test_a_title_is_escaped():
    text = html.page({"title": EVIL, "notes": ["\u2028"]}, blobs.Blobs())
    assert "<title>&lt;/script&gt;&lt;b&gt;" in text and "<b>" not in text
    assert of_page(text) == {"title": EVIL, "notes": ["\u2028"]}


def test_it_is_written_whole_or_not_at_all(run, tmp_path, monkeypatch):
    path = run.report(tmp_path / "page.html").path
    before = path.read_text()
    monkeypatch.setattr(html, "page", lambda *given: before + "\ud800")  # no UTF-8
    with pytest.raises(UnicodeEncodeError):
        run.report(path)
    assert path.read_text() == before and [*tmp_path.iterdir()] == [path]


def test_arrays_of_the_page_are_those_of_the_run(run, page):
    found, texts = of_page(page), Reader(page).texts
    kept = blobs.Blobs()
    kept.packed = {n.removeprefix("blob-"): t for n, t in texts.items() if n.startswith("blob-")}
    codes, labels = (kept.read(found["latents"][name]) for name in ("codes", "label"))
    test = run.dataset.test
    assert codes.shape == (len(test.images), 2)
    # In an order of their own: each code is that of one example, with its label.
    own = run.embed().astype(np.float16)
    rows = [int(np.flatnonzero((own == code).all(axis=1))[0]) for code in codes]
    assert sorted(rows) == [*range(len(own))] and rows != [*range(len(own))]
    np.testing.assert_array_equal(labels, test.labels[rows])
    carried = kept.read(found["latents"]["carried"])
    np.testing.assert_array_equal(carried, test.images[rows])


# What it says


def test_the_best_epoch_and_the_curves(run, page):
    found, history = of_page(page), run.history
    best = int(np.argmin(history["val_loss"]))
    assert found["best"]["epoch"] == history["epoch"][best] == found["curves"]["best"]
    panels = {panel["title"]: panel["series"] for panel in found["curves"]["panels"]}
    assert [*panels][:3] == ["Loss", "Reconstruction", "KL divergence"]
    names = [series["name"] for series in panels["KL divergence"]]
    assert names == ["training", "validation"]
    assert panels["KL divergence"][1]["values"] == history["val_kl"]
    constant = {each["name"]: each["value"] for each in found["curves"]["constant"]}
    assert constant["Learning rate"] == history["learning_rate"][0]


def test_curves_of_a_variant_and_of_what_is_no_number():
    rows = [
        {"epoch": e, "step": e, "val_loss": v, "train_l1": 1.0 * e, "train_kl": 0.0, "speed": e}
        for e, v in ((1, 3.0), (2, math.nan), (3, 2.0))
    ]
    found = curves(rows)
    panels = {panel["title"]: panel["series"] for panel in found["panels"]}
    assert [*panels] == ["Loss", "L1", "Speed"]  # a KL that is always 0 is none
    assert panels["Loss"] == [{"name": "validation", "values": [3.0, None, 2.0]}]
    assert found["best"] == 3
    assert curves([]) == {
        "epoch": [], "best": None, "panels": [], "machine": [], "constant": []
    }  # fmt: skip


CHANGES = {
    "train.epochs": 3,
    "model.hidden_dims": (8, 4),
    "objective.beta": 0.5,
    "data.streaming": True,
    "data.standardise": False,
    "optimizer.options": {"b1": 0.8},
    "data.resize": (8, 9),
    "optimizer.clip_norm": 1.5,
}


def test_the_command_repeats_the_run(monkeypatch):
    """Parsed again it is the experiment, whatever kind a changed setting is of."""
    from jaxvae.changes import with_changes

    changed = with_changes(runs.load_experiment("digits_vae"), CHANGES)
    config = {
        "experiment": dataclasses.asdict(changed),
        "classes": {part: f"jaxvae.config.{part.title()}" for part in runs.PARTS},
    }
    basis = facts.basis_of(config)
    assert basis.listed is not None and basis.listed.name == "digits_vae"
    rows = facts.differences(config, basis)
    listed = {row["name"]: (row["value"], row["usual"]) for row in rows}
    assert listed.keys() == CHANGES.keys()
    assert listed["objective.beta"] == ("0.5", "1.0") and listed["data.resize"] == ("8 9", "None")
    assert listed["data.streaming"] == ("on", "off")
    program, command, *words = shlex.split(facts.command(config, basis))
    assert (program, command) == ("jaxvae", "train")
    options = parse(TrainOptions, "train", words, _train_defaults(words))
    assert options.experiment == changed


def test_of_arrays_in_memory_no_command_is_told(page):
    found = of_page(page)
    assert found["command"] is None and found["basis"] == "" and found["expected"] == ""
    settings = {each["name"]: each["value"] for each in found["settings"]}
    assert settings["model.hidden_dims"] == "8" and settings["data.batch_size"] == "12"
    assert "train.figures_every" not in settings and "name" not in settings


def test_an_experiment_that_makes_its_arrays_has_a_command():
    """Where they are those that it makes: other arrays in their place have none."""
    experiment = runs.load_experiment("heartbeats")
    classes = {part: f"jaxvae.config.{part.title()}" for part in runs.PARTS}
    config = {"experiment": dataclasses.asdict(experiment), "classes": classes}
    basis = facts.basis_of(config)
    assert facts.command(config, basis) == "jaxvae train heartbeats"
    config["experiment"]["data"]["source"] = "arrays in memory: float32 of 9x128x1, 0"
    assert facts.command(config, basis) is None


def test_what_is_expected_comes_from_the_docstring():
    experiment = runs.load_experiment("mnist_vae_2d")
    classes = {part: f"jaxvae.config.{part.title()}" for part in runs.PARTS}
    config = {"experiment": dataclasses.asdict(experiment), "classes": classes}
    basis = facts.basis_of(config)
    assert basis.listed.number == "test loss 138.2 nats per image at the best epoch"
    assert facts.differences(config, basis) == []
    assert facts.command(config, basis) == "jaxvae train mnist_vae_2d"
    # A model of another class has only its name in common.
    config["classes"] = classes | {"model": "mine.Model"}
    assert facts.basis_of(config).listed is None and facts.command(config, basis) is not None
    assert facts.command(config, facts.basis_of(config)) is None


def test_facts_name_what_was_trained(run, page):
    found = dict(map(tuple, of_page(page)["facts"]))
    assert found["Trained"] == f"2 epochs, {run.summary['steps']} steps; finished"
    assert found["Examples"] == "48 training, 12 validation and test alike"
    assert found["Versions"].startswith(f"jaxvae {jaxvae.__version__}, jax ")
    assert found["Model"] == "VAE, dense layers of 8, 2 latents"


def test_facts_name_a_variant_by_what_it_alone_has_and_no_place_on_this_machine():
    experiment = runs.load_experiment("beta_tc_vae")
    config = {
        "experiment": dataclasses.asdict(experiment),
        "classes": {part: class_name(getattr(experiment, part)) for part in runs.PARTS},
        "jaxvae": "1",
        "jax": "2",
    }
    prepared = "9 images; mnist/3.0.1 of TensorFlow Datasets"

    def facts_of(*data):
        return dict(facts.facts(config, {"data": data}, facts.basis_of(config), None))

    found = facts_of(f"set: {prepared} in /home/me/a, b; 5 to train on", "odd")
    assert found["Model"] == "VAE, dense layers of 256, 10 latents"
    own = "mi weight 1.0, tc weight 6.0, dw weight 1.0, estimator mws"
    assert found["Objective"] == f"bernoulli likelihood; BetaTC: {own}"
    assert found["Data as understood"] == f"set: {prepared}; 5 to train on; odd"
    for place in ("~/data/mnist", r"C:\\data", r"\\\\host\data"):
        assert facts_of(f"{prepared} in {place}")["Data as understood"] == prepared
    other = "labels in A: the rest; 5 to train on"  # what else is said stays
    assert facts_of(other)["Data as understood"] == other


# What it shows


def test_reconstructions_with_their_errors():
    trained, split = made.trained(made.MODELS["dense"]), subjects.images(30, seed=1)
    seen, kept = looks.look(trained, split), blobs.Blobs()
    groups = {group["name"]: group for group in looks.pairs(trained, split, seen, kept)}
    recon = evaluation.reconstruct(trained, evaluation.prepare(trained, split))
    error = np.square(recon - split.images / 255).mean(axis=(1, 2, 3))
    assert groups["Best"]["index"] == np.argsort(error)[: looks.PAIRS].tolist()
    assert groups["Worst"]["index"] == np.argsort(-error)[: looks.PAIRS].tolist()
    np.testing.assert_allclose(
        groups["Worst"]["error"], np.sort(error)[::-1][: looks.PAIRS], rtol=1e-4
    )
    rows = groups["Any"]["index"]
    np.testing.assert_array_equal(kept.read(groups["Any"]["originals"]), split.images[rows])
    shown = kept.read(groups["Any"]["reconstructions"]) / 255
    np.testing.assert_allclose(shown, recon[rows], atol=0.51 / 255)


def test_what_a_denoising_model_is_given_is_shown(tmp_path):
    data = Data("digits", batch_size=8, corruption="masking", corruption_level=0.5)
    trained = made.trained(Model(family="AE", hidden_dims=(8,), latent_dim=2), data=data)
    kept = blobs.Blobs()
    found = report.contents(made.reported(tmp_path, trained), kept)
    assert found["noise"] == "masking of level 0.5"
    for group in found["reconstructions"]:
        given, clean = kept.read(group["inputs"]), kept.read(group["originals"])
        hidden = given != clean
        assert 0.4 < hidden.mean() < 0.6 and not given[hidden].any()
        recon = evaluation.decode(trained, evaluation.embed(trained, batch_at(trained, group)))
        shown = kept.read(group["reconstructions"]) / 255
        np.testing.assert_allclose(shown, recon, atol=0.51 / 255)


def batch_at(trained, group):
    """The test examples of a group, with the noise of their places."""
    index = np.array(group["index"])
    return evaluation.prepare(trained, subjects.dataset().test.take(index), index)


def test_the_training_example_next_to_a_sample():
    trained, train, kept = made.trained(made.MODELS["dense"]), subjects.images(50), blobs.Blobs()
    found = looks.samples(trained, train, kept)
    drawn = kept.read(found["samples"]).astype(float).reshape(looks.FEW, -1)
    rows = train.images.astype(float).reshape(50, -1)
    nearest = [np.square(rows - sample).sum(1).argmin() for sample in drawn]
    np.testing.assert_array_equal(kept.read(found["nearest"]), train.images[nearest])


def test_components_are_those_of_largest_variance():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(200, 4)) * [1, 5, 0.1, 3] + [0, 1, 2, 3]
    plane = looks.components(codes)
    directions = np.array(plane["directions"])
    np.testing.assert_allclose(directions @ directions.T, np.eye(2), atol=1e-9)
    values, vectors = np.linalg.eigh(np.cov(codes.T))
    np.testing.assert_allclose(np.abs(directions @ vectors[:, ::-1][:, :2]), np.eye(2), atol=1e-6)
    np.testing.assert_allclose(plane["share"], values[::-1][:2] / values.sum())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "books"), [("vq", 1), ("rq", 3)])
def test_codebooks_and_how_they_are_used(tmp_path, name, books):
    trained, kept = made.trained(made.MODELS[name]), blobs.Blobs()
    found = report.contents(made.reported(tmp_path, trained), kept)
    assert len(found["codebooks"]) == books
    test = subjects.dataset().test
    batch = evaluation.prepare(trained, test, np.arange(len(test.images)))
    indices = trained.model.apply(trained.variables.model, batch).aux["indices"]
    for i, book in enumerate(found["codebooks"]):
        own = np.asarray(indices).reshape(-1, books)[:, i]
        counts = np.array(book["counts"])
        np.testing.assert_array_equal(counts, np.bincount(own, minlength=8))
        usage = counts[counts > 0] / (30 * 3 * 3)  # positions of all test images
        assert book["perplexity"] == pytest.approx(np.exp(-(usage @ np.log(usage))))
    assert found["prior"] == "codes" and "samples" in found and found["notes"] == []


@pytest.mark.slow
def test_rounded_numbers_and_how_they_are_used(tmp_path):
    """Each number's values by themselves, and the codes that all of them are together."""
    trained = made.trained(made.MODELS["fsq"])
    found = report.contents(made.reported(tmp_path, trained), blobs.Blobs())
    assert found["notes"] == [] and found["prior"] == "codes"
    z = evaluation.embed(trained, evaluation.prepare(trained, subjects.dataset().test))
    z = z.reshape(-1, 3)
    assert [len(book["values"]) for book in found["codebooks"]] == [5, 2, 4]
    for channel, book in zip(z.T, found["codebooks"], strict=True):
        counts = [int(np.isclose(channel, value).sum()) for value in book["values"]]
        assert book["counts"] == counts and sum(counts) == len(z)
    _, counts = np.unique(z.round(6), axis=0, return_counts=True)
    usage = counts / counts.sum()
    perplexity = pytest.approx(np.exp(-(usage @ np.log(usage))))
    assert found["rounded"] == {"codes": 40, "used": len(counts), "perplexity": perplexity}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parts", "scheduled"),
    [
        ("joint_vae", {"layers": [], "categories": {"from": 10, "size": 10}}, True),
        ("gumbel_vae", {"layers": [], "categories": {"from": 0, "size": 10}}, True),
        ("two_layer_vae", {"layers": ["z1", "z2"], "categories": None}, False),
        ("warm_up_vae", {"layers": [], "categories": None}, True),
    ],
)
def test_what_a_code_consists_of_and_whether_the_objective_changes(
    tmp_path, name, parts, scheduled
):
    experiment = runs.load_experiment(name)
    trained = subjects.trained(experiment, subjects.dataset())
    found = report.contents(made.reported(tmp_path, trained), blobs.Blobs())
    assert {part: found["latents"][part] for part in parts} == parts
    assert found["scheduled"] == scheduled


def test_a_decoder_that_the_page_has_not_is_a_grid(tmp_path, monkeypatch):
    from jaxvae.report import weights

    monkeypatch.setattr(weights, "LARGEST", 100)
    trained, kept = made.trained(made.MODELS["dense"]), blobs.Blobs()
    found = report.contents(made.reported(tmp_path, trained), kept)
    assert found["network"]["decoder"] is None and len(found["notes"]) == 2
    grid = found["grid"]
    (x0, y0), (x1, y1) = grid["low"], grid["high"]
    corners = np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]], np.float32)
    n = grid["side"]
    shown = kept.read(grid["images"])[[0, n - 1, n * (n - 1), n * n - 1]] / 255
    np.testing.assert_allclose(shown, evaluation.decode(trained, corners), atol=0.51 / 255)


def test_without_a_prior_there_are_no_samples(tmp_path):
    trained = made.trained(made.MODELS["gelu_ae"])
    found = report.contents(made.reported(tmp_path, trained), blobs.Blobs())
    assert "samples" not in found and found["prior"] is None and found["latents"]["kl"] is None
    assert len(found["latents"]["std"]) == 20


def test_signals_are_kept_as_the_model_sees_them(tmp_path):
    data = made.dataset_of(made.signals)
    model = Model(hidden_dims=(8,), latent_dim=2, output="linear")
    trained = made.trained(model, data, objective=jaxvae.Objective("gaussian"))
    kept = blobs.Blobs()
    found = report.contents(made.reported(tmp_path, trained, data), kept)
    assert found["kind"] == "signal" and found["unit"] == "nats per example"
    group = found["reconstructions"][0]
    batch = evaluation.prepare(trained, data.test.take(np.array(group["index"])))
    np.testing.assert_allclose(kept.read(group["originals"]), batch.target, atol=2e-3)
    error = np.square(kept.read(group["reconstructions"]).astype(float) - batch.target)
    np.testing.assert_allclose(group["error"], error.mean(axis=(1, 2)), rtol=0.02)


def test_a_run_that_has_said_nothing_yet(tmp_path):
    """Without metrics and summary, as of weights that were imported."""
    trained = made.trained(made.MODELS["dense"])
    found = report.contents(made.reported(tmp_path, trained)._replace(rows=[]), blobs.Blobs())
    assert found["best"] is None and found["curves"]["panels"] == []
    assert html.page(found, blobs.Blobs())


def test_figures_while_training_fit(tmp_path, monkeypatch):
    """Of more epochs than fit those that are evenly spaced, the last one among them."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for epoch in range(10, 110, 10):
        folder = tmp_path / "figures" / f"epoch-{epoch:04d}"
        folder.mkdir(parents=True)
        noise = rng.integers(0, 256, (80, 900, 3), np.uint8)
        Image.fromarray(noise).save(folder / "samples.png")
    assert [each["epoch"] for each in looks.over_time(tmp_path)] == [*range(10, 110, 10)]
    [picture] = looks.over_time(tmp_path)[0]["pictures"]
    kind, _, letters = picture["url"].partition(",")
    content = base64.b64decode(letters)
    assert (picture["name"], kind) == ("samples", "data:image/webp;base64")
    assert Image.open(io.BytesIO(content)).size == (700, 62)
    monkeypatch.setattr(looks, "FIGURE_BYTES", 4 * len(content))
    assert [each["epoch"] for each in looks.over_time(tmp_path)][-1] == 100
    assert 3 <= len(looks.over_time(tmp_path)) <= 4
    assert looks.over_time(tmp_path / "none") == []


def test_figures_while_training_say_whose_they_are(tmp_path):
    """Of a run alone nobody's; of a population they may be another member's at each epoch."""
    from PIL import Image

    for name in ("epoch-0001-member-12", "epoch-9999-member-3", "epoch-10000", "epoch-0002"):
        (tmp_path / "figures" / name).mkdir(parents=True)
        Image.new("RGB", (4, 3)).save(tmp_path / "figures" / name / "samples.png")
    found = [(each["epoch"], each["member"]) for each in looks.over_time(tmp_path)]
    assert found == [(1, 12), (2, None), (9999, 3), (10000, None)]


# What was measured


def shown(folder, step=20, config=None, called="runs/a"):
    """Tables of a run of digits whose second epoch ended at step 20."""
    config = config or {"experiment": {"data": {"source": "digits"}}, "classes": {}}
    return measures.tables(measured.read(folder), config, {10: 1, 20: 2}, step, called)


def record(group="nll", values=None, step=20, **options):
    options = {"checkpoint": "best", "source": "digits", "split": "test"} | options
    values = {group: 1.5, f"{group}_se": 0.25} if values is None else values
    return Record(group, options, values, ("a note",), step, 30, "2026-01-02T03:04:05+00:00", "9")


def keep(folder, *records):
    runs.write_json(folder / "config.json", {})
    measured.keep(folder, records)


def test_a_run_without_measures_says_how_to_measure(tmp_path):
    command = "jaxvae evaluate runs/a --metrics all && jaxvae report runs/a"
    assert shown(tmp_path) == {"groups": [], "command": command}
    in_memory = {"experiment": {"data": {"source": "arrays in memory: ..."}}, "classes": {}}
    assert shown(tmp_path, config=in_memory)["command"] is None


def test_a_table_has_values_errors_and_definitions(tmp_path):
    values = {"nll": 1.5, "nll_se": 0.25, "num_samples": 7.0}
    keep(tmp_path, record(values=values, num_samples=7, limit=30))
    [group] = shown(tmp_path)["groups"]
    assert group["title"] == "Bound on -log p(x)" and group["notes"] == ["a note"]
    assert group["of"] == "the first 30 test examples" and group["settings"] == "7 draws"
    assert group["other"] == "" and group["by"] == "jaxvae 9, 2026-01-02"
    first, second = group["rows"]
    assert first["values"] == [{"value": 1.5, "error": 0.25}] and group["columns"] == ["value"]
    assert (first["unit"], first["better"]) == ("nats", "lower") and "bound" in first["text"]
    assert second["values"] == [{"value": 7.0, "error": None}] and second["better"] == ""


def test_what_stands_beside_a_value_is_in_its_row(tmp_path):
    values = {"knn_1": 0.9, "knn_1_se": 0.1, "knn_1_pca": 0.7, "lone": 1.0, "knn_1_pca_se": 0.2}
    keep(tmp_path, record("probes", values, seed=0))
    [group] = shown(tmp_path)["groups"]
    assert group["columns"] == ["value", "on components"]
    both = [{"value": 0.9, "error": 0.1}, {"value": 0.7, "error": 0.2}]
    assert [row["values"] for row in group["rows"]] == [both, [{"value": 1.0, "error": None}, None]]


def test_what_is_of_another_checkpoint_or_of_other_data_is_said(tmp_path):
    keep(tmp_path, record(source="x.npz", split="all"), record("units", step=10), record("dci"))
    groups = {group["name"]: group for group in shown(tmp_path)["groups"]}
    assert [*groups] == ["units", "dci", "nll"]  # of others' data last
    assert groups["nll"]["of"] == "30 examples of x.npz, not the run's own data"
    says = "Measured at epoch 1. The model of this page is that of epoch 2."
    assert [group["other"] for group in groups.values()] == [says, "", ""]
    [says] = {group["other"] for group in shown(tmp_path, step=33)["groups"]} - {
        says.replace("epoch 2", "step 33")
    }
    assert says == "Measured at epoch 2. The model of this page is that of step 33."
    assert {group["other"] for group in shown(tmp_path, step=None)["groups"]} == {""}


def test_terms_are_not_said_twice(tmp_path):
    terms = [record("terms", {"loss": 1.0}, z=z) for z in ("sampled", "mean")]
    keep(tmp_path, *terms, record("elbo", {"loss": 1.0, "loss_se": 0.1}))
    assert [group["name"] for group in shown(tmp_path)["groups"]] == ["terms", "elbo"]
    keep(tmp_path, record("terms", {"loss": 2.0}, step=30, z="sampled"))
    assert len(shown(tmp_path)["groups"]) == 3  # of a later checkpoint it is another loss


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ""),
        ({"num_samples": 500, "seed": 0}, ""),
        ({"num_samples": 5, "seed": 3, "limit": 9}, " --limit 9 --num-samples 5 --seed 3"),
        ({"checkpoint": "latest", "split": "train"}, " --split train --checkpoint latest"),
        ({"source": "a b.npz", "split": "all"}, " --source 'a b.npz'"),
        ({"source": "x", "split": "test"}, " --source x --split test"),
        ({"normal": [1, 2], "anomalies": "y"}, " --normal 1 2 --anomalies y"),
        ({"source": "arrays in memory: float32 of 2x2, 0"}, None),
        ({"source": "x", "split": "all", "resize": 8}, None),
    ],
)
def test_the_command_that_measured_it_does_so_again(tmp_path, options, words):
    keep(tmp_path, record(**options))
    [group] = shown(tmp_path, called="runs/a --member 2")["groups"]
    whole = f"jaxvae evaluate runs/a --member 2 --metrics nll{words}"
    assert group["command"] == (None if words is None else whole)


def test_a_run_of_own_classes_needs_its_code(tmp_path):
    config = {"experiment": {"data": {"source": "digits"}}, "classes": {"model": "mine.M"}}
    assert shown(tmp_path, config=config)["command"].endswith("runs/a --experiment FILE")
    config["code"] = {"file": "mine.py"}
    assert shown(tmp_path, config=config)["command"].count(" --trust-code") == 2


def test_of_a_population_the_page_has_the_measures_of_its_member(tmp_path):
    """As training ends, when the folder is the population's."""
    run = made.reported(tmp_path, made.trained(made.MODELS["dense"]), number=1)
    measured.keep(tmp_path, [record(values={"nll": float(i)}, member=i) for i in (0, 1)])
    [group] = report.contents(run, blobs.Blobs())["measures"]["groups"]
    assert group["rows"][0]["values"][0]["value"] == 1.0


def test_the_page_has_what_was_measured_and_says_what_is_old(tmp_path):
    run = jaxvae.train(SMALL, tmp_path / "run", quiet=True)
    none = of_page(run.report().path.read_text())["measures"]
    assert none == {"groups": [], "command": None}  # arrays in memory: no command reads them
    run.evaluate()
    loss = run.evaluate("elbo")["elbo"]["loss"]
    [group] = of_page(run.report().path.read_text())["measures"]["groups"]
    assert group["rows"][0]["values"][0]["value"] == loss and group["other"] == ""
    more = run.resume(epochs=4, quiet=True)
    assert more.summary["best"]["epoch"] > 2
    [group] = of_page(more.report().path.read_text())["measures"]["groups"]
    assert group["other"].startswith("Measured at epoch 2. The model of this page is that of epoch")
    more.evaluate("elbo")
    [group] = of_page(more.report().path.read_text())["measures"]["groups"]
    assert group["other"] == ""


def test_pages_are_small():
    """What grows with data is bounded: points, carried examples, figures."""
    assert looks.CARRIED_BYTES + looks.GRID_BYTES + looks.FIGURE_BYTES < 6e6
    assert looks.NUMBERS * 2 < 2e6


# Who writes it


def test_a_notebook_shows_it(run, tmp_path):
    page = run.report(tmp_path / "a.html")
    shown = page._repr_html_()
    assert shown.startswith('<iframe srcdoc="&lt;!doctype html&gt;')
    assert len(re.findall(r'(?<!=)"', shown)) == 3  # what ends the attributes, and nothing within
    assert repr(page).startswith("<Page ") and Path(page) == tmp_path / "a.html"
    with pytest.raises(UsageError, match=r"path = 'a\.txt': must be the path of an \.html file"):
        run.report("a.txt")
    with pytest.raises(UsageError, match="member = 0: must be left out: a single run"):
        run.report(member=0)


@pytest.mark.slow
@pytest.mark.ci
def test_the_command(capsys, tmp_path):
    folder = tmp_path / "run"
    few = ("--data.limit", 40, "--train.epochs", 1, "--train.figures-every", "None")
    status, _, err = call(capsys, "train", "digits_vae", "--out", folder, *few, "--train.report")
    assert status == 0 and f"wrote {folder / 'report.html'}: open it in a browser" in err
    first = of_page((folder / "report.html").read_text())
    assert first["command"].startswith("jaxvae train digits_vae --data.limit 40 --train.epochs 1")
    (folder / "report.html").unlink()
    status, result, _ = call(capsys, "report", folder)
    assert status == 0 and result["report"] == str(folder / "report.html")
    assert result["bytes"] == (folder / "report.html").stat().st_size
    again = of_page((folder / "report.html").read_text())
    assert dict(again["facts"]).pop("Checkpoint").startswith("step ")
    assert again["reconstructions"] == first["reconstructions"]
    status, _, err = call(capsys, "report", folder, "--out", tmp_path / "a.pdf")
    assert status == 2 and "--out" in err and "must be an .html file" in err


def test_a_page_that_fails_does_not_lose_the_run(tmp_path, monkeypatch, capfd):
    def fails(*given):
        raise RuntimeError("no ink")

    monkeypatch.setattr("jaxvae.training.page.page_at_end", fails)
    run = jaxvae.train(SMALL, tmp_path / "run", **{"train.report": True})
    assert run.summary["status"] == "finished" and not (run.folder / "report.html").exists()
    assert "no report.html was written: RuntimeError: no ink" in capfd.readouterr().err
    assert loop._page.__doc__


@pytest.mark.slow
def test_of_a_population_one_member(tmp_path):
    run = jaxvae.train(SMALL, tmp_path, population=Population(seeds=2), quiet=True)
    losses = [member["best"]["val_loss"] for member in run.summary["members"]]
    best = int(np.argmin(losses))
    found = of_page(run.report().path.read_text())
    words = f"member {best} of 2, counted from 0: the one of the lowest validation loss"
    assert found["member"] == words and found["best"]["val_loss"] == min(losses)
    other = of_page(run.report(tmp_path / "other.html", member=1 - best).path.read_text())
    assert other["best"]["val_loss"] == max(losses)
    assert dict(map(tuple, other["facts"]))["Seed"] == str(1 - best)
