"""The last lines of a command for a person: what came out, where it is, what may come next.

They are printed where stdout is a terminal; elsewhere, and with --json, there is JSON.
"""

import itertools
import os
import re
import shlex
import signal
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxvae import runs
from jaxvae.cli.help import wrapped
from jaxvae.runs import names
from jaxvae.runs.classes import needed_option
from jaxvae.words import still_falls

Facts = list[tuple[str, str]]
"""What a line is about, and what it says; empty where it goes on with the one before."""

UNREAD = 128 + signal.SIGPIPE
"""Status where nobody reads stdout any more: as of a program that the signal ends, such as cat."""

LABEL = r"^\S+( \S+)*(?=  )"

Result = Mapping[str, Any]
TERMS = ("loss", "recon", "kl", "mse")
SETTINGS = 8
"""Settings of a population that are listed; summary.json has all."""
MEASURES = 8
"""Values of a setting of a study that are listed, study.csv has all; and of a group of measures
that runs have in common."""


def show(text: str, bold: str | None = None) -> None:
    """Print to stdout; end the process where nobody reads it any more, as after `| head -1`.

    Args:
        text: as it is.
        bold: a regular expression; where it matches, letters are bold on a terminal.
    """
    if bold is not None and sys.stdout.isatty():
        from rich.console import Console
        from rich.text import Text

        styled = Text(text)
        styled.highlight_regex(re.compile(bold, re.MULTILINE), "bold")
        Console(highlight=False).print(styled, soft_wrap=True)
        return
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # What is left in the buffer would be flushed, and fail, once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(UNREAD)


def text(command: str, result: Result) -> str:
    """The lines, as long as the terminal is wide; what is there to be copied stays whole."""
    facts = facts_of(command, result)
    column = max((len(name) for name, _ in facts), default=0) + 2
    lines = []
    for name, says in facts:
        whole = says.startswith(("jaxvae ", "in Python"))
        first = f"{name:{column}}"
        lines += [first + says] if whole else wrapped(says, first, " " * column)
    return "\n".join(lines)


def facts_of(command: str, result: Result) -> Facts:
    """What is to be said of a command's result."""
    match command:
        case "train" if "members" in result:
            return population(result)
        case "train" | "extract":
            return run(result)
        case "evaluate":
            return evaluated(result)
        case "study":
            return studied(result)
        case "reconstruct" | "sample" | "embed" | "interpolate" | "traverse":
            return drawn(result)
        case "figures":
            return figures(result)
        case "report":
            return _page(result["report"], result)
        case "fit":
            return fitted(result)
        case "experiments":
            return experiments(result)
        case "datasets":
            return [(entry["name"], entry["how"]) for entry in result["datasets"]]
        case "runs":
            here = result["folder"]
            facts = [(os.path.relpath(e["run"], here), _standing(e)) for e in result["runs"]]
            return [*facts, *_page(result.get("page"), result)]
        case "compare":
            return compared(result)
        case "info":
            return information(result)
        case "import-torch" if "run" in result:
            return imported(result)
    return [(name, _plain(value)) for name, value in result.items()]


def _page(path: str | None, result: Result) -> Facts:
    """Of a page that was written."""
    if path is None:
        return []
    return [("page", f"{path}: {result['bytes'] / 1e6:.1f} MB; open it in a browser")]


def run(summary: Result) -> Facts:
    """Of `train` and `extract`."""
    folder = Path(summary["folder"])
    best, last = summary["best"], summary["last"]
    facts: Facts = []
    if best is not None:
        facts.append(("best", f"epoch {best['epoch']:.0f}, {_loss(best, folder, 'val_')}"))
    if last is not None and best is not None and last["epoch"] != best["epoch"]:
        facts.append(("last", f"epoch {last['epoch']:.0f}, {_loss(last, folder, 'val_')}"))
    if "active" in summary.get("active_latents", {}):
        active = summary["active_latents"]
        facts.append(("latents", f"{active['active']} of {active['of']} active"))
    falls = still_falls(summary)
    facts += [("more", f"{falls}: more epochs make it better")] if falls else []
    then = _next(folder, "sample", "evaluate")
    return [*facts, *_where(summary), *(_longer(folder, summary, then) if falls else then)]


def population(summary: Result) -> Facts:
    """Of `train` with several members."""
    folder, members = Path(summary["folder"]), summary["members"]
    finite = [m for m in members if m["best"] is not None and m["failed_epoch"] is None]
    facts: Facts = [("members", f"{len(members)}, of which {summary['num_finite']} stayed finite")]
    if not finite:
        return [*facts, *_where(summary)]
    best = min(finite, key=lambda member: member["best"]["val_loss"])
    losses = [member["best"]["val_loss"] for member in finite]
    row, mean = best["best"], statistics.fmean(losses)
    which = _setting(best, members)
    facts += [
        ("best", f"member {best['member']} ({which}), epoch {row['epoch']:.0f}"),
        ("", _loss(row, folder, "val_")),
        ("all", f"{_nats(min(losses))} to {_nats(max(losses))}, mean {_nats(mean)}"),
    ]
    settings = summary["settings"] if len(summary["settings"]) > 1 else []
    for each in settings[:SETTINGS]:
        if (spread := each["best"]) is not None:
            terms = (
                f"{t} {spread[f'val_{t}']['mean']:.2f} ± {spread[f'val_{t}']['std']:.2f}"
                for t in TERMS[:3]
            )
            facts.append(("", f"{_setting(each, settings)}: {', '.join(terms)}"))
    if len(settings) > SETTINGS:
        facts.append(("", f"and {len(settings) - SETTINGS} more settings in summary.json"))
    out = f"{folder}-{best['member']}"
    then = f"jaxvae extract {folder} --member {best['member']} --out {out}"
    return [*facts, *_where(summary), ("next", then)]


def evaluated(result: Result) -> Facts:
    """Of `evaluate`."""
    begin = list(result).index("z") + 1
    terms = {name: result[name] for name in list(result)[begin : list(result).index("beta_eff")]}
    own = [name for name in terms if name not in TERMS and not name.endswith("_se")]
    step, of = result["checkpoint_step"], f"of {result['source']}, split {result['split']}"
    facts = [
        ("loss", _loss(terms, Path(result["run"]), "")),
        *([("terms", ", ".join(f"{n} {_with_error(terms, n)}" for n in own))] if own else []),
        ("images", f"{result['images']:,} {of}; z {result['z']}"),
        ("model", f"{result['run']}, {result['checkpoint']} checkpoint, of step {step:,}"),
    ]
    facts += measured(result)
    if result.get("kept"):
        facts += [("kept", f"{result['kept']}: the page shows it,"), ("", _report(result))]
    if "per_image" in result:
        for i, image in enumerate(result["worst"]):
            which = image.get("name", f"image {image['index']}")
            facts.append(("" if i else "worst", f"{which}: loss {_nats(image['loss'])}"))
        return [*facts, ("written", f"a row per image in {result['per_image']}")]
    return facts if "member" in result else [*facts, *_next(Path(result["run"]), "reconstruct")]


def _report(result: Result) -> str:
    """The command whose page shows what was measured: of a population, that of the member."""
    member = f" --member {result['member']}" if "member" in result else ""
    needs = needed_option(runs.saved_config(Path(result["run"])))
    return f"jaxvae report {shlex.quote(result['run'])}{member}{needs}"


def studied(result: Result) -> Facts:
    """Of `study`: means over seeds, with standard deviations, of each setting."""
    folder = Path(result["folder"])
    facts: Facts = [("members", f"{len(result['members'])}, on {result['images']:,} images")]
    every = [setting["measured"] for setting in result["settings"]]
    # What a group has the same of all members, such as num_samples, tells none from another.
    means = {n: {s[n]["mean"] for s in every if n in s} for s in every for n in s}
    same = {n for n in means if "." in n and len(means[n]) == 1 and len(every) > 1}
    for setting in result["settings"][:SETTINGS]:
        fields = [(name, value) for name, value in setting.items() if name != "measured"]
        which = ", ".join(f"{n.rpartition('.')[2].replace('_', ' ')} {v:g}" for n, v in fields)
        measured = setting["measured"].items()
        shown = {n: s for n, s in measured if not n.endswith("_se") and n not in same}
        listed = [
            f"{name} {_nats(s['mean'])}" + (f" ± {_nats(s['std'])}" if s["n"] > 1 else "")
            for name, s in [*shown.items()][:MEASURES]
        ]
        if more := len(shown) - len(listed):
            listed.append(f"and {more} more in study.csv")
        facts.append((which or "all", ", ".join(listed) or "not finite"))
    if left := len(result["settings"]) - SETTINGS:
        facts += [("more", f"{left} settings")] if left > 0 else []
    where = ", ".join(str(folder / f"study.{ending}") for ending in ("csv", "json", "png"))
    facts.append(("written", where))
    first = next((m["member"] for m in result["members"] if m["measured"]), None)
    if first is None:
        return facts
    return [*facts, *_next(folder / "members" / str(first), "sample", "evaluate")]


def measured(result: Result) -> Facts:
    """The groups that were asked for: a value per line, its standard error, and what to know."""
    facts: Facts = []
    for group, values in result.get("metrics", {}).items():
        names = [name for name in values if not name.endswith("_se")]
        width = max(map(len, names))
        for i, name in enumerate(names):
            says = f"{name:{width}}  {_with_error(values, name, '.5g')}"
            facts.append((group if i == 0 else "", says))
        facts += [("", f"({note})") for note in result["notes"][group]]
    refused = result.get("refused", {})
    return [*facts, *((name, f"left out: {why}") for name, why in refused.items())]


def drawn(result: Result) -> Facts:
    """Of the commands that write arrays and their picture."""
    shapes = (f"{name} {'x'.join(map(str, s)) or '()'}" for name, s in result["shapes"].items())
    first = next(iter(result["shapes"]))
    facts = [("picture", result["picture"])] if result["picture"] else []
    facts += [("arrays", f"{result['arrays']}: {', '.join(shapes)}")]
    facts += [("table", result["table"])] if "table" in result else []
    facts += [("each", f"{result['each']}: a file of every image")] if "each" in result else []
    return [*facts, ("next", f'in Python: numpy.load("{result["arrays"]}")["{first}"]')]


def experiments(result: Result) -> Facts:
    """Of `experiments`: by family what each is, and the number to expect."""
    facts: Facts = []
    for family, of_family in itertools.groupby(result["experiments"], lambda each: each["family"]):
        facts.append((f"{family or 'recipes'}:", names.FAMILIES.get(family, "")))
        for each in of_family:
            facts.append((each["name"].rpartition("/")[2], each["title"]))
            facts += [("", f"expect: {each['number']}")] if each["number"] else []
    return facts


def figures(result: Result) -> Facts:
    """Of `figures`."""
    paths = [Path(path) for path in result["figures"]]
    return [
        ("figures", f"{len(paths)} in {paths[0].parent}: {', '.join(path.stem for path in paths)}")
    ]


def fitted(result: Result) -> Facts:
    """Of `fit`."""
    count, dims = result["codes"]
    run = Path(result["density"]).parent
    return [
        ("fitted", f"{result['components']} Gaussians on {count:,} codes of {dims} latents"),
        ("fit", f"mean log density {_nats(result['mean_log_prob'])} nats per code"),
        ("file", result["density"]),
        ("next", f"jaxvae sample {run} --prior fitted"),
    ]


def _standing(entry: Result) -> str:
    """A run of `runs` and `compare` in a line."""
    if entry["experiment"] is None:
        return str(entry["state"])  # damaged, and how
    state = entry["state"].partition(" of ")[0]  # of an extracted member
    says = [state] if state != "finished" else []
    says += [f"{entry['members']} members"] if "members" in entry else []
    says.append(f"{entry['epoch']:.0f} of {entry['epochs']:,} epochs")
    says += [f"{entry['seconds']:,.0f} s"] if entry["seconds"] is not None else []
    ended = f"{entry['experiment']}: {', '.join(says)}"
    if not (best := entry["best"]):
        return ended
    which = f"member {entry['member']}, " if "member" in entry else ""
    return (
        f"{ended}; best {which}epoch {best['epoch']:.0f}, {_loss(best, Path(entry['run']), 'val_')}"
    )


def compared(result: Result) -> Facts:
    """Of `compare`: settings that differ, run by run, and what each came to."""
    facts: Facts = []
    for i, entry in enumerate(result["runs"]):
        values = (f"{n} {v[i]}" for n, v in result["settings"].items() if v[i] is not None)
        facts += [(entry["run"], ", ".join(values) or "the same settings"), ("", _standing(entry))]
    facts += [("note", note) for note in result["notes"]]
    for table in result["measures"]:
        facts += _in_common(table)
    return [*facts, *_page(result.get("page"), result)]


def _in_common(table: Result) -> Facts:
    """A table of measures of `compare`: of each its values, in the order of the runs."""
    options = ", ".join(f"{name} {_plain(value)}" for name, value in table["options"].items())
    order = "each run's, in this order"
    facts = [(table["group"], f"{table['images']:,} examples ({options}); {order}:")]
    for row in table["rows"][:MEASURES]:
        values = [
            "none" if cell is None else f"{cell['value']:.5g}{_error(cell['error'])}"
            for cell in row["values"]
        ]
        better = f"{row['better']} is better" if row["better"] else ""
        what = "; ".join(word for word in (row["text"], row["unit"], better) if word)
        facts.append(("", f"{row['name']}: {' | '.join(values)}{f' ({what})' if what else ''}"))
    more = len(table["rows"]) - MEASURES
    return [*facts, ("", f"and {more} more in the page and with --json")] if more > 0 else facts


def information(result: Result) -> Facts:
    """Of `info`."""
    settings, summary = result["config"]["experiment"], result["summary"] or {}
    model, last = settings["model"], result["last_epoch"]
    widths = ", ".join(map(str, model["hidden_dims"]))
    latents = "" if model["family"] == "CAE" else f", {model['latent_dim']} latents"
    facts: Facts = [
        ("run", f"{settings['name']}: {summary.get('status', 'has not ended')}"),
        ("data", f"{settings['data']['source']}, batches of {settings['data']['batch_size']}"),
        ("model", f"{model['family']}, {model['network']} layers of {widths}{latents}"),
    ]
    for name, row in (("best", summary.get("best")), ("last", last)):
        if isinstance(row, Mapping) and row.get("val_loss") is not None and "epoch" in row:
            facts.append(
                (name, f"epoch {row['epoch']:.0f}, validation loss {_nats(row['val_loss'])}")
            )
    steps = ", ".join(map(str, result["checkpoints"])) or "none"
    best = result["best_checkpoint"]
    facts.append(("saved", f"steps {steps}" + ("" if best is None else f"; the best is {best}")))
    return [*facts, ("more", "--json: all settings and results")]


def imported(result: Result) -> Facts:
    """Of `import-torch`, where it made a run."""
    folder = Path(result["run"])
    facts = [
        ("run", f"{folder}: {result['parameters']:,} parameters of {result['source']}"),
        ("map", result["map"]),
    ]
    if result["left_out"]:
        facts.append(("left out", ", ".join(result["left_out"])))
    if result["checked"] is None:
        facts.append(("checked", "no: --check compares with results of the PyTorch model"))
    else:
        facts.append(("checked", "its results are those of the PyTorch model"))
    return [*facts, *_next(folder, "evaluate")]


def _where(summary: Result) -> Facts:
    folder = Path(summary["folder"])
    drawn = len(list((folder / "figures").glob("*.png")))
    pictures = f"; {_count(drawn, 'figure')} in {folder / 'figures'}" if drawn else ""
    took = f" in {summary['total_seconds']:,.0f} s" if "total_seconds" in summary else ""
    ended = "" if summary["status"] == "finished" else f"; {summary['status']}"
    where: Facts = [
        ("run", f"{folder}: {_count(summary['epochs'], 'epoch')}{took}{ended}{pictures}")
    ]
    page = folder / "report.html"
    return [*where, ("page", f"{page}: open it in a browser")] if page.is_file() else where


def _next(folder: Path, *commands: str) -> Facts:
    """Commands on a run that it can carry out: without a prior there are no samples."""
    config = runs.saved_config(folder)
    file = needed_option(config)
    if config["experiment"]["model"]["family"] != "VAE":
        commands = tuple("reconstruct" if c == "sample" else c for c in commands)
    lines = [f"jaxvae {command} {folder}{file}" for command in commands]
    return [("next" if i == 0 else "", line) for i, line in enumerate(lines)]


def _longer(folder: Path, summary: Result, then: Facts) -> Facts:
    """How a run goes on to twice its epochs, before what may come next otherwise."""
    config = runs.saved_config(folder)
    file, settings = needed_option(config), config["experiment"]
    how = f"--resume {folder} --train.epochs {2 * summary['epochs']}"
    how += " --trust-code" if "trust" in file else ""
    how += " --may-change train.epochs" if settings["optimizer"]["schedule"] == "cosine" else ""
    named = "FILE " if "FILE" in file else ""
    return [("next", f"jaxvae train {named}{how}"), *(("", line) for _, line in then)]


def _loss(row: Result, folder: Path, prefix: str) -> str:
    """299.20 nats per image (recon 293.65, kl 5.55): the error per pixel where kl is none, and of
    an evaluation always; standard errors where there are some."""
    kind = "example" if runs.saved_config(folder)["info"]["maximum"] is None else "image"
    loss, recon, kl, mse = (f"{prefix}{term}" for term in TERMS)
    has_kl = bool(row[kl])
    says = f"{_with_error(row, loss)} nats per {kind}"
    if has_kl:
        says += f" (recon {_with_error(row, recon)}, kl {_with_error(row, kl)})"
    if row.get(mse) is not None and not (has_kl and prefix):
        each = "value" if kind == "example" else "pixel"
        says += f", MSE {_with_error(row, mse, '.3g')} per {each}"
    return says


def _setting(which: Result, others: Sequence[Result]) -> str:
    """In what it differs from the others: beta 0.5, seed 3."""
    end = next(name for name in ("beta_eff", "num_members") if name in which)
    names = list(which)[: list(which).index(end)]
    differ = [n for n in names if n != "member" and len({other[n] for other in others}) > 1]
    return ", ".join(f"{n.rpartition('.')[2].replace('_', ' ')} {which[n]:g}" for n in differ)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _nats(value: float) -> str:
    return f"{value:.2f}" if abs(value) >= 1 or value == 0 else f"{value:.3g}"


def _with_error(values: Result, name: str, form: str = "") -> str:
    """A value, by default as `_nats` has it, and its standard error where it has one."""
    value = values[name]
    return (f"{value:{form}}" if form else _nats(value)) + _error(values.get(f"{name}_se"))


def _error(error: float | None) -> str:
    return "" if error is None else f" ± {error:.2g}"


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items()) or "none"
    return str(value)
