"""Run folders of models with random weights, to be compared."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxvae import Model, Objective, runs
from jaxvae.data import Dataset
from jaxvae.evaluation import Trained
from jaxvae.report import Reported, comparison
from jaxvae.report.comparison import Compared, Member
from jaxvae.runs import listing, measured
from jaxvae.runs.measured import Record
from tests.evaluation import subjects
from tests.report import made

EVIL = "<b>&\"'"
STRIPES = subjects.dataset()
LONGER = 30


def trained(model: Model | str, seed: int, dataset: Dataset = STRIPES, **settings: Any) -> Trained:
    """A model, or one of `made.MODELS`, with the weights of a seed."""
    model = made.MODELS[model] if isinstance(model, str) else model
    return made.jiggled(made.trained(model, dataset, **settings), seed)


def folder_of(
    folder: Path,
    model: Model,
    dataset: Dataset = STRIPES,
    epochs: int = 3,
    first: float = 100,
    **settings: Any,
) -> Reported:
    """A run in its folder, whose loss falls from `first` to first / epochs. Runs of as many epochs
    have the same weights."""
    folder.mkdir(parents=True)
    made_of = trained(model, epochs, dataset, **settings)
    terms = {"recon": 0.9, "kl": 0.1 if model.family == "VAE" else 0.0, "loss": 1.0, "mse": 0.01}
    rows = []
    for epoch in range(1, epochs + 1):
        of = {f"val_{name}": share * first / epoch for name, share in terms.items()}
        of |= {f"train_{name}": share * 0.9 * first / epoch for name, share in terms.items()}
        rows.append({"epoch": epoch, "step": 9 * epoch, **of, "learning_rate": 0.5 / epoch})
    runs.write_metrics(folder / "metrics.csv", rows)
    found = made.reported(folder, made_of, dataset)
    return found._replace(rows=rows)


def compared(run: Reported, **fields: Any) -> Compared:
    """It as one of those that are compared."""
    best = runs.best_row(run.rows)
    members = [] if best is None else [Member("", best)]
    seen = fields.pop("seen", None) or comparison.look(run)
    given = {"rows": run.rows, "member": "", "members": members, "others": [], "seen": seen}
    return Compared(run.folder, **given | fields)


def four(top: Path) -> list[Compared]:
    """Two VAEs of one latent size, of which one has members and an evil name, an AE, and a VAE of
    signals that trained for longer."""
    a = folder_of(top / "a", made.MODELS["dense"])
    (top / "a" / "report.html").write_text("the page of a")
    b = folder_of(top / EVIL, made.MODELS["dense"], epochs=4, first=110)
    ae = folder_of(top / "ae", made.MODELS["gelu_ae"], first=120)
    model = Model(hidden_dims=(8,), latent_dim=3, output="linear")
    data, gaussian = made.dataset_of(made.signals), Objective("gaussian")
    waves = folder_of(top / "waves", model, data, LONGER, 90, objective=gaussian)
    others = [[row | {"val_loss": k * row["val_loss"]} for row in b.rows[:3]] for k in (1.1, 1.2)]
    rows = [{**b.rows[-1], "val_recon": 20.0 + k, "val_kl": 5.0 - k} for k in range(3)]
    members = [Member(f"member {k}: beta {k}", row) for k, row in enumerate(rows)]
    return [
        compared(a),
        compared(b, members=members, member="member 2 of 3", others=others),
        compared(ae),
        compared(waves),
    ]


def measure(run: Compared, group: str, values: dict[str, float], **options: Any) -> None:
    """Keep a record in a run, as of its best epoch, or of the `step` in the options."""
    best = runs.best_row(run.rows)
    assert best is not None
    step, of = options.pop("step", int(best["step"])), {"checkpoint": "best", "split": "test"}
    source = runs.saved_config(run.folder)["experiment"]["data"]["source"]
    record = Record(group, {**of, "source": source, **options}, values, (), step, 30)
    measured.keep(run.folder, [record])


def found(each: list[Compared]) -> dict[str, Any]:
    return listing.compared([run.folder for run in each])


def page(top: Path, each: list[Compared]) -> Path:
    return comparison.write(found(each), each, top / "pages" / "compare.html")


def index_folder(top: Path) -> Path:
    """Runs that are finished, stopped, failed and damaged, and what is none."""
    from PIL import Image

    for name, epochs in (("b10", 3), ("b9", 4), ("deep/c", 2)):
        run = folder_of(top / name, made.MODELS["dense"], epochs=epochs)
        best = runs.best_row(run.rows)
        summary = {"status": "finished", "total_seconds": 10.0 * epochs, "num_parameters": 1234}
        runs.write_json(run.folder / "summary.json", summary | {"best": best})
    (top / "b9" / "report.html").write_text("the page of b9")
    figures = top / "b10" / "figures" / "epoch-0002"
    figures.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (300, 900, 3), np.uint8)
    Image.fromarray(noise).save(figures / "samples.png")
    failed = folder_of(top / "failed", made.MODELS["dense"], epochs=0)
    runs.write_json(failed.folder / "summary.json", {"status": "failed: not finite at step 2"})
    folder_of(top / EVIL, made.MODELS["dense"], epochs=1)
    damaged = folder_of(top / "damaged", made.MODELS["dense"]).folder
    (damaged / "metrics.csv").write_text("epoch,step\n1,x\n")
    (top / "foreign").mkdir()
    (top / "foreign" / "config.json").write_text('{"model_type": "bert"}')
    return top
