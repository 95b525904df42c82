"""What Python users are told: arguments in the place of options, and what was read."""

import contextlib
import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

from jaxvae.checks import UsageError

WORDS = {"out": "folder", "resume": "jaxvae.load(folder).resume()", "source": "data"}
"""Options of the command line whose argument has another name."""
EXISTS = "give another folder, or continue it with jaxvae.load(folder).resume()"


@contextlib.contextmanager
def python_words() -> Iterator[None]:
    """Errors that name options of the command line name arguments, without Orbax's narration."""
    absl = logging.getLogger("absl")
    level = absl.level
    absl.setLevel(logging.CRITICAL)
    try:
        yield
    except (UsageError, FileExistsError, FileNotFoundError) as error:
        if len(error.args) == 1 and isinstance(error.args[0], str):
            error.args = (in_python(error.args[0]),)
        raise
    finally:
        absl.setLevel(level)


@contextlib.contextmanager
def said(quiet: bool) -> Iterator[None]:
    """What is read is said, unless the caller has set up the log of jaxvae."""
    log = logging.getLogger("jaxvae")
    # That the root has a handler says nothing: libraries give it one, for their warnings.
    if log.handlers or log.level != logging.NOTSET or log.isEnabledFor(logging.INFO):
        yield
        return
    handler = logging.NullHandler() if quiet else logging.StreamHandler()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)
        log.propagate = True


def still_falls(summary: Mapping[str, Any]) -> str:
    """That more epochs would go on as the last ones did; empty where they would not."""
    fell = summary.get("still_falling")
    if summary["status"] != "finished" or not fell:
        return ""
    last = f"{fell['epochs']} epochs" if fell["epochs"] > 1 else "epoch"
    return f"the validation loss still fell by {fell['nats']:.4g} nats in the last {last}"


def in_python(message: str) -> str:
    """A message in which options are arguments: --data.batch-size is data.batch_size.

    Whole commands stay what they are, and so does a message that has its own words for Python.
    """
    if "--" not in message or "in Python" in message:
        return message
    message = re.sub(r"; unless told so: --may-change .*", "", message)
    message = message.replace("give another --out, or continue it with --resume", EXISTS)
    parts = re.split(r"(\bjaxvae [a-z-]+ .*?(?=;|$))", message)
    return "".join(part if part.startswith("jaxvae ") else _arguments(part) for part in parts)


def _arguments(text: str) -> str:
    text = re.sub(r"--([\w.]*)no-([\w-]+)", r"--\1\2=False", text)
    return re.sub(
        r"(?<![\w-])--([a-z][\w.-]*\w)",
        lambda found: WORDS.get(found[1], found[1].replace("-", "_")),
        text,
    )
