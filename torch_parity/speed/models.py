"""What is raced: the four benchmark models, published networks, and the variants of the family."""

from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from torch_parity.speed.report import Target
from torch_parity.speed.variants import ENTRANTS

Benchmark = Literal["mnist_vae", "mnist_vae_bn", "mnist_cae", "mnist_conv_vae"]
Published = Literal["antixk_vae", "burgess_vae"]
BENCHMARKS: tuple[str, ...] = get_args(Benchmark)
GREY, COLOUR, PHOTO = (28, 28, 1), (32, 32, 3), (64, 64, 3)


class Entry(NamedTuple):
    """A model that is compared, and images per epoch: fewer for those that take long."""

    title: str
    images: int
    quick_images: int
    target: Target
    """At the batch size of --quick."""
    image_shape: tuple[int, int, int] = GREY
    experiment: str = ""
    """Of a variant; the others' are their names."""
    settings: dict[str, Any] | None = None
    """Of the experiment, where they are not its own."""
    weight_map: str = "reference"
    """From PyTorch's names, see `workers.Job`."""
    further: tuple[Target, ...] = ()
    """At other batch sizes."""

    def target_at(self, batch_size: int) -> Target | None:
        """What is expected there."""
        targets = {target.batch_size: target for target in (self.target, *self.further)}
        return targets.get(batch_size)


MODELS: dict[str, Entry] = {
    "mnist_vae": Entry("MLP VAE", 60000, 12800, Target(128, 6.0, 1.2, 0.75, streamed=1.5)),
    "mnist_vae_bn": Entry("BatchNorm VAE", 60000, 12800, Target(128, 5.0, 1.2)),
    "mnist_cae": Entry("CAE", 16384, 6144, Target(64, 4.0, 1.8)),
    "mnist_conv_vae": Entry(
        "conv VAE",
        2048,
        768,
        Target(64, 1.4, 1.25),
        further=(
            *(Target(size, None, 1.5) for size in (256, 512)),
            Target(1024, None, 1.5, mebibytes=800),
        ),
    ),
    "antixk_vae": Entry(
        "AntixK's VAE",
        1024,
        512,
        Target(64, None, 1.2),
        PHOTO,
        # PyTorch's steps follow no schedule here; by its source's 5e-3 losses are soon another's.
        settings={"optimizer.schedule": "constant", "optimizer.learning_rate": 5e-4},
        weight_map="antixk",
    ),
    "burgess_vae": Entry(
        "Burgess's VAE",
        4096,
        2048,
        Target(64, None, 1.2),
        PHOTO,
        settings={"data.resize": (64, 64), "model.hidden_dims": (32, 32, 32, 32)},
        weight_map="burgess_64",
    ),
}
_LARGE = {"iwae_50": (3840, 1280), "vq_vae": (6400, 3840), "fsq_vae": (6400, 3840)}
_DENSE = 25600, 12800
MODELS |= {
    name: Entry(
        name,
        *_LARGE.get(name, _DENSE),
        Target(128, None, 1.2),
        experiment=name,
    )
    for name in ENTRANTS
}
MODELS["iwae_50"] = MODELS["iwae_50"]._replace(
    experiment="iwae", settings={"objective.samples": 50}
)
MODELS["cifar_vq_vae"] = MODELS["cifar_vq_vae"]._replace(
    images=512, quick_images=256, target=Target(64, None, 1.2), image_shape=COLOUR
)


def shaped(images: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Grey images (n, 28, 28, 1) in another shape: black around them, and equal channels."""
    margins = [(0, 0), *((0, new - old) for new, old in zip(shape[:2], GREY, strict=False))]
    return np.repeat(np.pad(images, [*margins, (0, 0)]), shape[2], axis=3)
