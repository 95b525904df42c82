"""The command line: `main` carries out what `jaxvae` is given."""

from jaxvae.cli.main import main

__all__ = ["main"]
