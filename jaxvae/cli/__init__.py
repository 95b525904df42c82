"""The command line: `main` carries out one of `COMMANDS`."""

from jaxvae.cli.main import COMMANDS, main

__all__ = ["COMMANDS", "main"]
