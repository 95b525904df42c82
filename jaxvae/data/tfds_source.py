"""Image sets of TensorFlow Datasets (TFDS), read without TensorFlow from array_record files.

TensorFlow is needed only to download and prepare a set that is not there yet.
"""

import contextlib
import difflib
import importlib.util
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from jaxvae.checks import UsageError
from jaxvae.config import Data
from jaxvae.data import cache
from jaxvae.data.aspect import BACKGROUNDS
from jaxvae.data.decode import Plan, decode, decode_image
from jaxvae.data.found import Found
from jaxvae.data.headers import Encoded, Rules
from jaxvae.data.lazy import consecutive
from jaxvae.data.splits import Source, Split

NAME = r"[a-zA-Z]\w*(/[\w+.-]+)?(:[\d*.]+)?"
"""Names of the sets that come with TFDS. Those of communities (namespace:name) would have it import
what it downloads, and a name may come from a run folder that somebody shares."""
READABLE = ("array_record", "parquet")
"""TFDS file formats that can be read without TensorFlow."""
CHUNK = 1000
"""Records per read: every read takes a time that grows with the number of records in the file."""

log = logging.getLogger("jaxvae")


def data_dir() -> Path:
    """Where prepared sets are looked for: `$TFDS_DATA_DIR`, or TFDS's own default."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def names() -> list[str]:
    """Names of the sets that TFDS can prepare and of those that are in `data_dir`."""
    here = data_dir()
    prepared = [path.name for path in here.iterdir() if path.is_dir()] if here.is_dir() else []
    return sorted({*tfds.list_builders(with_community_datasets=False), *prepared})


def find(name: str, data: Data) -> Found:
    """The set `name` (`mnist`, `mnist:3.0.1`, `cifar10_corrupted/fog_1`), prepared if need be.

    Its splits `train` and `test` (or else `validation`) are used. An integer `label` is kept.

    With `data.streaming` the images stay in their records, of which none is read: so there are no
    labels, and size and channels are those that the set declares; where it leaves the size open,
    all images are resized to `data.resize`.

    Args:
        name: a TFDS name; also that of a folder of `data_dir` that has no builder code.
        data: the settings.

    Raises:
        FileNotFoundError: the set is not prepared and could not be; the message says what to do.
        UsageError: there is no such set, it does not hold 8-bit images, or it cannot be streamed.
    """
    builder = _builder(name)
    if not builder.is_prepared():
        _prepare(builder, name)
    problem = _problem(builder)
    if problem is not None:
        raise UsageError(f"data.source = {name!r}: {problem}")

    features = _features(builder)
    sizes_differ = None in features["image"].shape  # otherwise the device resizes
    splits = builder.info.splits
    keys = {"train": "train"}
    for key in ("test", "validation"):
        if key in splits and "test" not in keys:
            keys["test"] = key
    on_host = data.resize_rule == "pillow"
    resize = data.resize if sizes_differ or on_host else None
    rules = Rules(resize, data.background, on_host, data.aspect)
    label = features.get("label")
    class_names = label.names if isinstance(label, tfds.features.ClassLabel) else None

    def read() -> Source:
        if data.streaming:
            decoded = _in_records(builder, keys, rules)
        else:
            files = [Path(path) for key in keys.values() for path in splits[key].filepaths]
            made_from = [cache.fingerprint(file) for file in files]
            decoded = cache.cached(
                builder.info.name,
                sum(splits[key].num_examples for key in keys.values()),
                ["tfds", builder.info.full_name, made_from, rules],
                lambda: _decode(builder, keys, rules),
            )
        return Source(
            name=name,
            train=decoded["train"],
            test=decoded.get("test"),
            classes=tuple(class_names) if class_names else None,
            description=f"{builder.info.full_name} of TensorFlow Datasets",
        )

    shape = "x".join("?" if length is None else str(length) for length in features["image"].shape)
    notes = [f"its split {key!r} is not read" for key in splits if key not in keys.values()]
    return Found(
        name,
        f"images of {shape} (height x width x channels; uint8)"
        + (f"; {len(class_names):,} classes" if class_names else "")
        + f"; {builder.info.full_name} of TensorFlow Datasets in {builder.data_path}",
        {part: splits[key].num_examples for part, key in keys.items()},
        {part: key for part, key in keys.items() if key != part},
        notes,
        read,
    )


def is_readable(name: str) -> bool:
    """Whether a set of TFDS is prepared in `data_dir`, and so that it can be read here."""
    if not (data_dir() / name).is_dir():
        return False
    builder = _builder(name)
    return builder.is_prepared() and _problem(builder) is None


def prepared() -> list[dict[str, Any]]:
    """Each prepared set in `data_dir`: name, location, images per split, and what prevents use."""
    here = data_dir()
    found = []
    for version in sorted([*here.glob("*/*/features.json"), *here.glob("*/*/*/features.json")]):
        folder = version.parent  # NAME/VERSION or NAME/CONFIGURATION/VERSION
        entry = {"name": folder.parent.relative_to(here).as_posix(), "location": str(folder)}
        try:
            builder = tfds.builder_from_directory(folder)
            images = {key: split.num_examples for key, split in builder.info.splits.items()}
            found.append({**entry, "images": images, "problem": _problem(builder)})
        except Exception as error:  # one damaged folder must not hide the others
            found.append({**entry, "images": None, "problem": _reason(error)})
    return found


def _builder(name: str) -> tfds.core.DatasetBuilder:
    is_folder = Path(name).is_dir()
    folder_hint = (
        f"the folder is written ./{name}" if is_folder else "a folder of images is written ./NAME"
    )
    if not re.fullmatch(NAME, name, re.ASCII):
        raise UsageError(
            f"data.source = {name!r}: must be NAME, NAME:VERSION or NAME/CONFIGURATION of"
            f" TensorFlow Datasets ({folder_hint})"
        )
    try:
        return tfds.builder(name, data_dir=data_dir())
    except tfds.core.DatasetNotFoundError as error:
        plain = name.partition("/")[0].partition(":")[0]
        near = difflib.get_close_matches(plain, [*names(), "digits"])
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(
            f"data.source = {name!r}: neither TensorFlow Datasets nor {data_dir()} has such a set;"
            f" {meant}{folder_hint}"
        ) from error
    except Exception as error:  # TFDS raises several types for a wrong version or configuration
        raise UsageError(f"data.source = {name!r}: {_reason(error)} ({folder_hint})") from error


def _prepare(builder: tfds.core.DatasetBuilder, name: str) -> None:
    """Download and prepare a set, which needs TensorFlow, or say how to get it."""
    if importlib.util.find_spec("tensorflow") is None:
        failure = "preparing it needs TensorFlow: pip install 'jaxvae[tfds]', then run again"
        cause = None
    else:
        log.info("downloading and preparing %s in %s", name, builder.data_path)
        try:
            with contextlib.redirect_stdout(sys.stderr):  # TFDS prints; stdout is for results
                builder.download_and_prepare(
                    file_format="array_record",
                    download_config=tfds.download.DownloadConfig(try_download_gcs=False),
                )
            return
        except Exception as error:  # network, disk, checksum, manual download, ...
            failure, cause = f"preparing it failed ({_reason(error)})", error
    raise FileNotFoundError(
        f"data.source = {name!r}: not in {data_dir()}, and {failure}. Or set TFDS_DATA_DIR to a"
        " folder that has it; --data.source digits needs nothing"
    ) from cause


def _problem(builder: tfds.core.DatasetBuilder) -> str | None:
    """Why a prepared set cannot be used, or None."""
    info = builder.info
    features = _features(builder)
    image = features.get("image")
    file_format = info.file_format.value if info.file_format else None
    if file_format not in READABLE:
        return (
            f"it is prepared in {builder.data_path} as {file_format}, which only TensorFlow reads;"
            f" set TFDS_DATA_DIR to another folder to have it prepared as {READABLE[0]}"
        )
    if not isinstance(image, tfds.features.Image) or image.np_dtype != np.uint8:
        return f"it has no feature `image` of 8-bit images; its features are {sorted(features)}"
    if "train" not in info.splits:
        return f"it has no split `train`; its splits are {list(info.splits)}"
    return None


def _features(builder: tfds.core.DatasetBuilder) -> dict[str, Any]:
    features = builder.info.features
    return dict(features.items()) if isinstance(features, tfds.features.FeaturesDict) else {}


def _decode(
    builder: tfds.core.DatasetBuilder, keys: dict[str, str], rules: Rules
) -> dict[str, Split]:
    return decode({part: _read(builder, key) for part, key in keys.items()}, rules)


def _read(builder: tfds.core.DatasetBuilder, key: str) -> Encoded:
    """All records of a split, their images still encoded."""
    label = _features(builder).get("label")
    labelled = label is not None and label.shape == () and np.issubdtype(label.np_dtype, np.integer)
    records = _records(builder, key)
    files, labels = [], []
    for _, record in records(range(builder.info.splits[key].num_examples)):
        files.append(record["image"])
        labels.append(record["label"] if labelled else 0)
    names = [f"{builder.info.full_name} {key} image {i}" for i in range(len(files))]
    fits = np.iinfo(np.int32)
    if wrong := [int(label) for label in labels if not fits.min <= int(label) <= fits.max]:
        raise UsageError(f"{builder.data_path}: label {wrong[0]} of {key!r}: must fit in int32")
    return Encoded(files, names, np.array(labels, np.int32) if labelled else None)


def _in_records(
    builder: tfds.core.DatasetBuilder, keys: dict[str, str], rules: Rules
) -> dict[str, Split]:
    """The splits, their images still in their records."""
    name = builder.info.full_name
    if builder.info.file_format.value != "array_record":
        raise UsageError(
            f"data.streaming = True: must be False for {name}, which {builder.data_path} holds as"
            f" {builder.info.file_format.value}: only array_record is read image by image"
        )
    height, width, channels = _features(builder)["image"].shape[-3:]
    resize, varying = rules.resize, None in (height, width)
    if varying and resize is None:
        raise UsageError(
            f"data.resize = None: must be a height and a width to stream {name}, which leaves the"
            " size of its images open; give --data.resize HEIGHT WIDTH"
        )
    height, width = resize or (height, width)
    background = BACKGROUNDS[rules.background]
    shape = (height, width, 1 if channels == 1 else 3)
    resized = varying or rules.on_host
    plan = Plan(shape, resized, background=background, aspect=rules.aspect)

    together = "+".join(keys.values())  # one reader, so that `data.whole` can join the splits
    records = _records(builder, together)

    def read(numbers: list[int]) -> Iterator[np.ndarray]:
        for number, record in records(numbers):
            yield decode_image(record["image"], f"{name} {together} image {number}", plan)

    counts = [builder.info.splits[key].num_examples for key in keys.values()]
    images = consecutive(read, counts, plan.shape, plan.dtype)
    return {part: Split(own, None) for part, own in zip(keys, images, strict=True)}


def _records(
    builder: tfds.core.DatasetBuilder, split: str
) -> Callable[[Sequence[int]], Iterator[tuple[int, dict[str, Any]]]]:
    """What reads records of a split by their numbers, the images still encoded."""

    def unreadable(error: Exception) -> UsageError:
        return UsageError(f"{builder.data_path}: cannot read {split!r} ({_reason(error)})")

    # array_record reports damage with RuntimeError, ValueError, ...
    try:
        # Pillow decodes one image in a third of the time that TFDS takes.
        decoders = {"image": tfds.decode.SkipDecoding()}
        source = builder.as_data_source(split=split, decoders=decoders)
    except Exception as error:
        raise unreadable(error) from error

    def read(numbers: Sequence[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        for start in range(0, len(numbers), CHUNK):
            chunk = list(numbers[start : start + CHUNK])
            try:
                found = source.__getitems__(chunk)
            except Exception as error:
                raise unreadable(error) from error
            yield from zip(chunk, found, strict=True)

    return read


def _reason(error: Exception) -> str:
    """An error as one short line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}"
