"""Draws the pictures of README.md and docs/index.md: python docs/images/pictures.py FOLDER.

Two VAEs train in FOLDER, some minutes each on two cores: `mnist_vae_2d` on MNIST, 12 epochs, and
`mnist_vae` on Fashion-MNIST, 8 epochs. Runs that are there are drawn as they are. The film of the
explorer is recorded from the first one's page (docs/images/explorer.py).
"""

import sys
from pathlib import Path
from typing import Any

import explorer

import jaxvae
from jaxvae.figures import save

HERE = Path(__file__).parent


def trained(folder: Path, name: str, **settings: Any) -> jaxvae.Run:
    """The run of that folder, whose name is that of its data; trained where it is not there."""
    if folder.exists():
        return jaxvae.load(folder)
    return jaxvae.train(name, folder, data=folder.name, figures_every=None, **settings)


def main(folder: Path) -> None:
    mnist = trained(folder / "mnist", "mnist_vae_2d", epochs=12)
    mnist.report()
    save(mnist.figure("manifold"), HERE / "manifold.png")
    explorer.main(folder / "mnist" / "report.html")
    fashion = trained(folder / "fashion_mnist", "mnist_vae", epochs=8)
    save(fashion.figure("interpolations"), HERE / "fashion.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
