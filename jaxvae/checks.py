"""How a setting that is not allowed is refused."""

from pathlib import Path


class UsageError(ValueError):
    """An argument or setting has a value that is not allowed; the message says which and why."""


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raise a UsageError that names the field, its value and what is allowed."""
    if not condition:
        raise UsageError(f"{name} = {value!r}: must be {allowed}")


def refuse_no_page(name: str, path: Path, allowed: str = "an .html file") -> None:
    """Raise a UsageError unless a page can be written there."""
    is_page = path.suffix in (".html", ".htm") and not path.is_dir()
    require(is_page, name, str(path), allowed)


def absent(what: str, package: str, install: str) -> UsageError:
    """The error where `what` needs a package that is not installed, and how to install it."""
    return UsageError(f"{what}: needs {package}, which is not installed: pip install '{install}'")


def reason(error: Exception) -> str:
    """Another library's error as one short line."""
    return str(error).partition("\n")[0][:300] or type(error).__name__
