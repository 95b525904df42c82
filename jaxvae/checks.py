"""How a setting that is not allowed is refused."""


class UsageError(ValueError):
    """An argument or setting has a value that is not allowed; the message says which and why."""


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raise a UsageError that names the field, its value and what is allowed."""
    if not condition:
        raise UsageError(f"{name} = {value!r}: must be {allowed}")


def absent(what: str, package: str, install: str) -> UsageError:
    """The error where `what` needs a package that is not installed, and how to install it."""
    return UsageError(f"{what}: needs {package}, which is not installed: pip install '{install}'")


def reason(error: Exception) -> str:
    """Another library's error as one short line."""
    return str(error).partition("\n")[0][:300] or type(error).__name__
