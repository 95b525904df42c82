"""Measures that several runs have in common: of the same examples, under the same options."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxvae.evaluation.definitions import BESIDE, NATS, Definition, base_of, definition
from jaxvae.runs.folder import saved_config
from jaxvae.runs.listing import OF_RECON
from jaxvae.runs.measured import TERMS, Record, read_or_say

NOT_OF_EXAMPLES = ("data.source", "data.batch_size", "data.streaming", "data.labelled")
"""Settings of the data that leave the examples as they are; the source is an option of a record."""
OF_BATCHES = "_over_full_batches"
"""The end of names of terms that depend on what else is in a batch, and so on its size."""
OF_ONE_LATENT = re.compile(r"kl_\d+")
"""Names of what is a latent's: of another model the latent of that number is another one."""


class Measured(NamedTuple):
    """What was measured on a run, or on a member of a population.

    settings: of its experiment by dotted name, its classes by their part.
    images: the fingerprint of its own data, and shape, that of an example.
    """

    records: Sequence[Record]
    settings: Mapping[str, Any]
    images: Any
    shape: Sequence[int]


def measured_on(folder: Path, settings: dict[str, Any], where: Mapping[str, Any]) -> Measured:
    """What was measured on a run, of these settings; of a population on its best member, as its
    `listing.standing` says."""
    config, member = saved_config(folder), where.get("member")
    records = [r for r in read_or_say(folder) if r.options.get("member") == member]
    return Measured(records, settings, config.get("images"), config["info"]["shape"])


def tables(each: Sequence[Measured]) -> list[dict[str, Any]]:
    """Tables of what at least two runs have: a table is of one group, under one set of options, on
    the same examples; what differs in any of these is in another one.

    Returns:
        Of a table its `group`, `options`, number of `images`, the `steps` of the checkpoints that
        were measured, one for each run, and `rows` of `name`, what `Definition` has, and `values`,
        one for each run: `value` and `error`, its standard error (None: it has none). What a run
        has not is None. A name stands twice where it is of two things, such as likelihoods.
    """
    alike: dict[str, dict[int, Record]] = {}
    for run, own in enumerate(each):
        for record in own.records:
            alike.setdefault(_conditions(record, own), {})[run] = record
    found = []
    for records in alike.values():
        first = next(iter(records.values()))
        steps = [records[i].checkpoint_step if i in records else None for i in range(len(each))]
        if rows := _rows(records, each):
            options = {"options": _options(first), "images": first.images, "steps": steps}
            found.append({"group": first.group, **options, "rows": rows})
    return [table for table in found if not any(_is_within(table, other) for other in found)]


def _is_within(table: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether its terms are in the other one too, of group elbo, which has more, and no older."""
    if (table["group"], other["group"]) != (TERMS, "elbo"):
        return False
    both = zip(table["steps"], other["steps"], strict=True)
    newer = all(own is None or (theirs is not None and own <= theirs) for own, theirs in both)
    return newer and table["options"] == other["options"] | {"z": "sampled"}


def _options(record: Record) -> dict[str, Any]:
    return {name: value for name, value in record.options.items() if name != "member"}


def _conditions(record: Record, of: Measured) -> str:
    """Equal where a group was measured alike on the same examples, made ready in the same way."""
    own = record.options.get("source") == of.settings["data.source"]
    data = {
        name: value
        for name, value in of.settings.items()
        if name.partition(".")[0] == "data" and name not in NOT_OF_EXAMPLES
    }
    examples = [record.images, of.images if own else None, [*of.shape], data]
    return json.dumps([record.group, _options(record), *examples], sort_keys=True)


def _rows(records: Mapping[int, Record], each: Sequence[Measured]) -> list[dict[str, Any]]:
    cells: dict[tuple[str, str], dict[int, dict[str, float | None]]] = {}
    for run, record in records.items():
        values = record.values
        for name, value in values.items():
            is_error = name.endswith("_se") and name.removesuffix("_se") in values
            if is_error or name.endswith(OF_BATCHES) or OF_ONE_LATENT.fullmatch(name):
                continue
            cell = {"value": value, "error": values.get(f"{name}_se")}
            cells.setdefault((name, _thing(name, values, each[run].settings)), {})[run] = cell
    return [
        {
            "name": name,
            **_definition(name, records[min(own)].values)._asdict(),
            "values": [own.get(run) for run in range(len(each))],
        }
        for (name, _), own in cells.items()
        if len(own) > 1
    ]


def _definition(name: str, values: Mapping[str, float]) -> Definition:
    """Of a value that stands beside another one, that one's, and how."""
    base, end = base_of(name, values)
    found = definition(base)
    return found._replace(text=f"{found.text}: {BESIDE[end]}") if end else found


def _thing(name: str, values: Mapping[str, float], settings: Mapping[str, Any]) -> str:
    """What a value is of, beyond its name: equal where two can be compared."""
    text, unit, better = _definition(name, values)
    if name == "loss":
        of = [n for n in settings if n.partition(".")[0] == "objective"]
    elif unit in (NATS, "bits") and better:
        of = [*OF_RECON]
    else:
        of = [] if text else ["objective"]  # a term of a variant's own
    return json.dumps({n: settings.get(n) for n in of}, sort_keys=True)
