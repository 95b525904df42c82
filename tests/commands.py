"""Commands of the command line, carried out in the test's own process."""

import json
from typing import Any

from jaxvae import cli


def call(capsys, *args: object) -> tuple[int, dict, str]:
    """Exit status, the JSON on stdout, and stderr, of a command that ran in this process."""
    status: Any = 0
    try:
        cli.main([str(arg) for arg in args])
    except SystemExit as error:
        status = error.code
    out, err = capsys.readouterr()
    return status, json.loads(out) if out else {}, err
