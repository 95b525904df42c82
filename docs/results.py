"""Fill docs/results.json: what each experiment came to, where, and in what time.

docs/recipes.md, docs/variants.md and docstrings say these numbers; tests/test_results.py compares.
What is there already is left alone, so that the command goes on where it was stopped.

    make results                                   each experiment that has no entry
    make results RESULTS="mnist_vae --again"       this one, once more
    make results RESULTS="mnist_vae --seeds"       seeds 0 to 3, as a population
    make results RESULTS="iwae --mnist"            five epochs on MNIST
    make results RESULTS="iwae --measures"         what `jaxvae evaluate` says of it
    make results RESULTS="--jobs"                  the jobs of docs/jobs.md
    make results RESULTS="--run runs/a --where 'NVIDIA H100'"    a run that was trained elsewhere
    make results RESULTS="--run runs/b --where ... --key seed-1"    another one of the same
    make results RESULTS="--study runs/s --where ..."            the means of a study
    make results RESULTS=--table                   the measures as docs/evaluation.md has them
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any

from jaxvae import Experiment, runs
from jaxvae.atomic import atomic
from jaxvae.config import with_fields

LEDGER = Path(__file__).with_name("results.json")
ROOT = LEDGER.parents[1]
SEEDS = 4
SLOW = ("fashion_mnist_vae_sgd", "images_vae")
"""Not run unless named: a quarter of an hour, and images of one's own."""
POPULATION = ["--population.seeds", str(SEEDS), "--train.figures-every", "None"]
MNIST = ["--data.source", "mnist", "--data.batch-size", "128", "--train.epochs", "5"]
MEASURES = {
    "elbo": ("elbo", "elbo"),
    "nll": ("nll", "nll"),
    "active": ("units", "active"),
    "mutual_information": ("decomposition", "mutual_information"),
    "total_correlation": ("decomposition", "total_correlation"),
    "linear_probe": ("probes", "linear_probe"),
    "linear_probe_pixels": ("probes", "linear_probe_pixels"),
    "knn_5": ("probes", "knn_5"),
    "knn_5_pixels": ("probes", "knn_5_pixels"),
    "accuracy": ("clusters", "accuracy"),
    "accuracy_pixels": ("clusters", "accuracy_pixels"),
    "frechet": ("samples", "frechet_classifier_distance"),
    "frechet_train": ("samples", "frechet_classifier_distance_train"),
    "psnr": ("reconstruction", "psnr"),
    "ssim": ("reconstruction", "ssim"),
    "mig": ("disentanglement", "mig"),
    "length_ratio": ("geometry", "length_ratio"),
}
"""Of the table in docs/evaluation.md: the group and the value there."""
LIMIT = 2000
"""Test images that are measured, at most."""
SMALLER: dict[str, dict[str, Any]] = {
    "cifar_vq_vae": {"data.source": "cifar10_jpeg", "data.limit": 4096, "train.epochs": 8}
}
"""Settings of what would take a CPU hours, or needs what is not everywhere."""
CARD = ("mnist_conv_vae",)
"""Hours of a CPU: an entry comes from a card's run folder, by --run."""


LATER = {"residual_blocks": 0, "residual_dim": 32}
"""Fields of variants that came after their entries, as they are where they change nothing."""


def names() -> list[str]:
    """The experiments that have a number to expect."""
    files = sorted((ROOT / "experiments").rglob("*.py"))
    expect = [path.stem for path in files if "\nExpect:" in path.read_text()]
    return [name for name in expect if name not in CARD]


def smaller(name: str) -> list[str]:
    """The options of an experiment that is run smaller here than it is."""
    return [*chain(*((f"--{field}", str(x)) for field, x in SMALLER.get(name, {}).items()))]


def read() -> dict[str, Any]:
    """The ledger."""
    found: dict[str, Any] = json.loads(LEDGER.read_text()) if LEDGER.exists() else {}
    return found


def digest(settings: dict[str, Any]) -> str:
    """Of an experiment's settings, as config.json has them: other settings, other numbers.

    A setting that has its default does not count, since a later version may have more of them; nor
    does how long a run takes and what it writes.
    """
    usual = json.loads(json.dumps(asdict(Experiment(settings["name"]))), parse_int=float)
    settings = json.loads(json.dumps(settings), parse_int=float)  # 9 is 9.0
    for part, fields in settings.items():
        if part != "train" and isinstance(fields, dict):
            known = LATER | usual[part]
            own = {n: x for n, x in fields.items() if n not in known or known[n] != x}
            settings = settings | {part: own}
    text = json.dumps({n: x for n, x in settings.items() if n != "train"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def settings_of(name: str) -> dict[str, Any]:
    """Those of the experiment as it is now, as config.json would have them."""
    experiment = with_fields(runs.load_experiment(name), SMALLER.get(name, {}))
    found: dict[str, Any] = json.loads(json.dumps(asdict(experiment)))
    return found


def entry(folder: Path, command: str, where: str, seconds: float | None = None) -> dict[str, Any]:
    """What a run's folder says.

    Args:
        folder: of the run.
        command: that trained it.
        where: the machine.
        seconds: of the whole command, where they are known.
    """
    config, summary = runs.saved_config(folder), runs.read_json(folder / "summary.json")

    def row(of: dict[str, Any]) -> dict[str, float]:
        return {name: x for name, x in of.items() if name == "epoch" or name.startswith("val_")}

    found = {
        "command": command,
        "settings": digest(config["experiment"]),
        "epochs": config["experiment"]["train"]["epochs"],
        "versions": {"jaxvae": config["jaxvae"], "jax": config["jax"]},
        "device": where,
        "seconds": round(summary["total_seconds"] if seconds is None else seconds, 1),
    }
    if "members" in summary:
        bests = [row(member["best"]) for member in summary["members"]]
        return found | {"seeds": [member["seed"] for member in summary["members"]], "best": bests}
    seed = config["experiment"]["seed"]
    return found | {"seed": seed, "best": row(summary["best"]), "last": row(summary["last"])}


def machine() -> str:
    """This one's processor in words."""
    cores = len(os.sched_getaffinity(0))
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2] for line in lines if line.startswith("model name")), "CPU")
    short = model.split("@")[0].replace("(R)", "").replace(" Processor", "").replace(" CPU", "")
    return f"{cores} core{'s' * (cores > 1)} of {' '.join(short.split())}"


def record(began: float | None) -> dict[str, Any]:
    """Where, with what and when something was measured, and its seconds since `began`.

    None: it went on where an earlier call had stopped, so that its seconds are not known.
    """
    found = {
        "device": machine(),
        "versions": {name: version(name) for name in ("jaxvae", "jax")},
        "date": date.today().isoformat(),
    }
    return found if began is None else found | {"seconds": round(perf_counter() - began, 1)}


def run(name: str, options: Sequence[str]) -> dict[str, Any]:
    """Train it as a user would, in a folder that goes away again."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["train", name, *options]
        out = ["--out", f"{folder}/run"]
        began = perf_counter()
        subprocess.run([sys.executable, "-m", "jaxvae", *command, *out], check=True, stdout=2)
        seconds = perf_counter() - began
        return entry(Path(folder, "run"), " ".join(["jaxvae", *command]), machine(), seconds)


def measure(name: str, options: Sequence[str]) -> dict[str, Any]:
    """Train it, and have what applies to it measured."""
    with tempfile.TemporaryDirectory() as folder:
        began, out = perf_counter(), f"{folder}/run"
        train = ["train", name, *options]
        subprocess.run([sys.executable, "-m", "jaxvae", *train, "--out", out], check=True, stdout=2)
        evaluate = ["--metrics", "all", "--limit", str(LIMIT), "--num-samples", "500"]
        command = ["evaluate", out, "--experiment", name, *evaluate]
        done = subprocess.run(
            [sys.executable, "-m", "jaxvae", *command], check=True, stdout=subprocess.PIPE
        )
        found, config = json.loads(done.stdout)["metrics"], runs.saved_config(Path(out))
        values = {
            short: round(found[group][value], 6)
            for short, (group, value) in MEASURES.items()
            if value in found.get(group, {})
        }
        return {
            "command": " ".join(["jaxvae", *train, "; jaxvae evaluate RUN", *evaluate]),
            "settings": digest(config["experiment"]),
            "epochs": config["experiment"]["train"]["epochs"],
            "seed": config["experiment"]["seed"],
            "measures": values,
        } | record(began)


STUDY = {
    "recon": ("recon", 1),
    "KL": ("kl", 1),
    "MIG": ("disentanglement.mig", 3),
    "SAP": ("disentanglement.sap", 3),
    "FactorVAE score": ("disentanglement.factor_vae_score", 3),
    "BetaVAE score": ("disentanglement.beta_vae_score", 3),
}
"""Of the tables of studies in docs/evaluation.md: the value, and how many decimals it has."""


def of_study(folder: Path, where: str) -> dict[str, Any]:
    """Means and standard deviations over seeds of each setting of a study."""
    study, config = (runs.read_json(folder / f) for f in ("study.json", "population/config.json"))
    names = [name for name, _ in STUDY.values()]
    return {
        "settings": digest(config["experiment"]),
        "versions": {"jaxvae": config["jaxvae"], "jax": config["jax"]},
        "device": where,
        "seeds": len({member["seed"] for member in study["members"]}),
        "sweep": study["sweep"],
        "values": [
            {field: setting[field] for field in study["sweep"]}
            | {name: setting["measured"][name] for name in names}
            for setting in study["settings"]
        ],
    }


def study_table(name: str, entry: dict[str, Any]) -> str:
    """A row per setting: means (standard deviations); the first column is called `name`."""
    rows = [[name, *STUDY], ["---"] * (1 + len(STUDY))]
    for values in entry["values"]:
        found = [(values[column], digits) for column, digits in STUDY.values()]
        cells = [f"{x['mean']:.{d}f} ({x['std']:.{d}f})" for x, d in found]
        rows.append([f"{values[entry['sweep'][0]]:g}", *cells])
    return as_markdown(rows)


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


COLUMNS = {
    "NLL": ("nll", 2),
    "ELBO": ("elbo", 2),
    "active": ("active", 0),
    "MI": ("mutual_information", 2),
    "TC": ("total_correlation", 2),
    "linear probe (pixels)": ("linear_probe", 3),
    "5-NN (pixels)": ("knn_5", 3),
    "k-means (pixels)": ("accuracy", 3),
    "Frechet (train)": ("frechet", 1),
    "PSNR": ("psnr", 2),
    "SSIM": ("ssim", 3),
    "length ratio": ("length_ratio", 3),
    "MIG": ("mig", 3),
}
"""Of the table in docs/evaluation.md: the value, and how many decimals it has."""


def table(ledger: dict[str, Any]) -> str:
    """What was measured of each experiment, as rows of Markdown; in brackets what stands beside."""
    rows = [["experiment", "data", *COLUMNS], ["---"] * (2 + len(COLUMNS))]
    for key in (key for key in ledger if key.endswith("/measures")):
        name, values, cells = key.partition("/")[0], ledger[key]["measures"], []
        for value, digits in COLUMNS.values():
            beside = next((n for n in (f"{value}_pixels", f"{value}_train") if n in values), None)
            said = f"{values[value]:.{digits}f}" if value in values else ""
            cells.append(f"{said} ({values[beside]:.{digits}f})" if said and beside else said)
        epochs = re.search(r"--train.epochs (\d+)", ledger[key]["command"])
        short = f" ({epochs[1]} epochs)" if epochs else ""
        source = settings_of(name)["data"]["source"].partition(":")[0]  # arrays have a digest
        rows.append([f"`{name}`{short}", source, *cells])
    rows[2:] = sorted(rows[2:], key=lambda row: (row[1], row[0]))
    return as_markdown(rows)


def jobs() -> list[str]:
    """The scripts of experiments/jobs that end with numbers."""
    files = sorted((ROOT / "experiments" / "jobs").glob("*.py"))
    return [path.stem for path in files if "\ndef main(" in path.read_text()]


def job(name: str) -> dict[str, Any]:
    """Do a job of experiments/jobs, and keep the numbers and the figure that it made."""
    script = f"experiments/jobs/{name}.py"
    with tempfile.TemporaryDirectory() as folder:
        began = perf_counter()
        command = [sys.executable, str(ROOT / script), "--out", folder]
        subprocess.run(command, check=True, stdout=2)
        shutil.copy(Path(folder, "figure.png"), ROOT / "docs" / "images" / "jobs" / f"{name}.png")
        found = runs.read_json(Path(folder, "results.json"))
        return {"command": f"python {script}", "results": found} | record(began)


def write(ledger: dict[str, Any]) -> None:
    """In one piece, sorted."""
    with atomic(LEDGER) as temporary:
        temporary.write_text(json.dumps(ledger, indent=1, sort_keys=True) + "\n")


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="experiments; by default each without an entry")
    parser.add_argument("--seeds", action="store_true", help=f"seeds 0 to {SEEDS - 1} instead")
    parser.add_argument("--mnist", action="store_true", help="five epochs on MNIST instead")
    parser.add_argument("--measures", action="store_true", help="what `jaxvae evaluate` says")
    parser.add_argument("--jobs", action="store_true", help="the jobs of experiments/jobs instead")
    parser.add_argument("--again", action="store_true", help="those too that have an entry")
    parser.add_argument("--run", type=Path, help="a run folder, instead of training")
    parser.add_argument("--where", help="with --run: the machine that trained it")
    parser.add_argument("--key", help="with --run: what tells it from the experiment's own entry")
    parser.add_argument("--study", type=Path, help="the folder of a study, instead of training")
    parser.add_argument("--table", action="store_true", help="print the measures")
    given = parser.parse_args()
    if given.table:
        print(table(read()))
        return
    kind, more = "", []
    if given.seeds or given.mnist:
        kind, more = ("/seeds", POPULATION) if given.seeds else ("/mnist", MNIST)
    kind = "/measures" if given.measures else kind
    if given.study is not None:
        experiment = runs.read_json(given.study / "study.json")["experiment"]
        write(read() | {f"{experiment}/study": of_study(given.study, given.where)})
        return
    if given.run is not None:
        name = runs.saved_config(given.run)["experiment"]["name"]
        if given.where is None:
            parser.error("--where: needed with --run")
        command = " ".join(["jaxvae train", name, *smaller(name), *more])
        found = entry(given.run, command, given.where)
        write(read() | {f"{name}/{given.key}" if given.key else name + kind: found})
        return
    for name in (given.names or jobs()) if given.jobs else ():
        if f"jobs/{name}" not in read() or given.again:
            found = job(name)
            write(read() | {f"jobs/{name}": found})
            print(f"jobs/{name}: {json.dumps(found['results'])[:200]}", file=sys.stderr)
    if given.jobs:
        return
    for name in given.names or [name for name in names() if name not in SLOW]:
        if name + kind in read() and not given.again:
            continue
        if given.measures:
            fewer = ["--train.epochs", "5"] if name in SLOW + CARD else []
            found = measure(name, [*smaller(name), *fewer])
        else:
            found = run(name, [*smaller(name), *more])
        write(read() | {name + kind: found})
        said = found["measures"] if given.measures else found["best"]
        print(f"{name}{kind}: {json.dumps(said)[:200]}", file=sys.stderr)


if __name__ == "__main__":
    print(f"jax {version('jax')}, {machine()}", file=sys.stderr)
    main()
