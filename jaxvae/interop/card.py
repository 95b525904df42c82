"""The model card of an exported run: what it is, what it was trained on, what it can and cannot."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax

from jaxvae.evaluation import Trained
from jaxvae.report.measures import tables
from jaxvae.runs.measured import Record


class Known(NamedTuple):
    """trained: the model; step: of its checkpoint; config, summary, records: what the run's folder
    has, of what was measured that of this checkpoint."""

    trained: Trained
    step: int
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    records: Sequence[Record] = ()


def text(known: Known, form: str, programs: Mapping[str, Any]) -> str:
    """README.md, with the header that the Hugging Face Hub reads."""
    experiment = known.config["experiment"]
    parts = [
        _header(known),
        f"# {experiment['name']}",
        _what(known),
        "## Trained on",
        _data(known),
        "## Numbers",
        _numbers(known),
        *_measures(known),
        "## Use",
        _use(known, form, programs),
        "## Limits",
        LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


LIMITS = """It knows what it was trained on and nothing else: other images come out as what is near
them among those. Samples and reconstructions are blurred where the likelihood takes pixels as
independent. A low likelihood is no sign that an image is unusual. Neither was examined for biases
of the data. Whether the data's licence extends to it is for whoever publishes it to say."""


def _header(known: Known) -> str:
    source, model = (
        known.config["experiment"]["data"]["source"],
        known.config["experiment"]["model"],
    )
    fields: dict[str, Any] = {
        "library_name": "jaxvae",
        "tags": ["jaxvae", "jax", "flax", "autoencoder", model["family"].lower()],
    }
    if source.isidentifier():  # the name of a set, not a path
        fields["datasets"] = [source]
    lines = [f"{name}: {json.dumps(value)}" for name, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def _what(known: Known) -> str:
    model, objective = (known.config["experiment"][part] for part in ("model", "objective"))
    classes = known.config["classes"]
    number = sum(x.size for x in jax.tree.leaves(known.trained.variables.model["params"]))
    widths = ", ".join(map(str, model["hidden_dims"]))
    own = [f"`{cls}`" for cls in (classes["model"], classes["objective"]) if "config" not in cls]
    lines = [
        f"{model['family']} with {number:,} parameters: {model['network']} layers of {widths},"
        f" latents {model['latent_dim']}; likelihood {objective['likelihood']}, beta"
        f" {objective['beta']:g}." + (f" Of the classes {', '.join(own)}." if own else ""),
        f"Trained by jaxvae {known.config['jaxvae']} with jax {known.config['jax']}; the"
        f" parameters are those of step {known.step:,}.",
    ]
    return "\n".join(lines)


def _data(known: Known) -> str:
    lines = [str(line) for line in known.summary.get("data", [])]
    return "\n".join(lines or [f"Data source {known.config['experiment']['data']['source']}."])


def _numbers(known: Known) -> str:
    best = known.summary.get("best")
    if not best or "epoch" not in best:
        return "None are known: the run has no summary."
    kind = "image" if known.trained.info.maximum is not None else "example"
    rows = [("loss", "val_loss"), ("recon", "val_recon"), ("kl", "val_kl"), ("mse", "val_mse")]
    lines = [f"| of validation, epoch {best['epoch']:.0f} | |", "|---|---|"]
    for name, key in rows:
        unit = "" if name == "mse" else f" nats per {kind}"
        lines += [f"| {name} | {best[key]:.5g}{unit} |"] if key in best else []
    return "\n".join(lines)


def _measures(known: Known) -> list[str]:
    """A table of each group that `evaluate` measured on this checkpoint."""
    found = []
    for group in tables(known.records, known.config, {}, known.step, "RUN")["groups"]:
        of = ", ".join(filter(None, (group["of"], group["settings"])))
        heads = [f"{group['title']} ({of})", *group["columns"], ""]
        lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
        for row in group["rows"]:
            unit = f" {row['unit']}" if row["unit"] else ""
            cells = [_cell(cell, unit) for cell in row["values"]]
            lines.append(f"| {' | '.join([row['name'], *cells, row['text']])} |")
        found.append("\n".join(lines + [f"\n{note}" for note in group["notes"]]))
    return found


def _cell(cell: Mapping[str, float] | None, unit: str) -> str:
    """A value with its standard error, where it has one."""
    if cell is None:
        return ""
    error = cell["error"]
    return f"{cell['value']:.5g}" + ("" if error is None else f" ± {error:.2g}") + unit


def _use(known: Known, form: str, programs: Mapping[str, Any]) -> str:
    if form == "safetensors":
        own = ", trust_code=True" if "code" in known.config else ""
        return (
            f'```python\nimport jaxvae\n\nrun = jaxvae.load("."{own})\nrun.reconstruct(images)\n'
            "run.embed(images)\n```\n\n"
            "The folder goes where a run's goes: `jaxvae evaluate`, `sample`, `figures`; and"
            " `jaxvae train EXPERIMENT --init-from`."
        )
    lines = ["| file | what | takes |", "|---|---|---|"]
    for says in programs.values():
        takes = ", ".join(
            f"{a['name']}: {a['dtype']} ({', '.join(map(str, a['shape']))})"
            for a in says["arguments"]
        )
        lines.append(f"| {says['file']} | {says['what']} | {takes} |")
    return "\n".join(lines) + "\n\n" + RUNS[form]


RUNS = {
    "stablehlo": """```python
from jax import export

decode = export.deserialize(open("decode.stablehlo", "rb").read())
images = decode.call(z)  # on CPU, CUDA or TPU
```""",
    "onnx": """```python
import onnxruntime

session = onnxruntime.InferenceSession("decode.onnx")
(images,) = session.run(None, {session.get_inputs()[0].name: z})
```""",
}
