"""PyTorch as a contestant of the speed comparison: as tutorials write it, and tuned.

Does not import JAX.
"""

import io
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from torch_parity import losses
from torch_parity.recipes import Recipe
from torch_parity.speed.recipes import RACED
from torch_parity.speed.variants import ENTRANTS
from torch_parity.speed.workers import Job, Report, png
from torch_parity.variants.parts import total as total_of


def tutorial(job: Job, *options: str) -> Iterator[Report]:
    """As tutorials train: a PNG decoded by Pillow per item, a DataLoader, eager, BCE on
    probabilities, Adam, `loss.item()` in each step.

    Yields the device, then after each epoch the mean `loss` in nats per image and `device_bytes`,
    the largest memory of a GPU (None on a CPU).

    Args:
        job: what is trained.
        options: `workers`: two processes decode, and stay from epoch to epoch.
    """
    recipe, device = RACED[job.experiment], device_to_use()
    files = [png(image) for image in stored_images(job)]
    yield {"device": device_name()}

    model = initial(job).to(device)
    optimizer = recipe.optimizer(model.parameters())
    # A tutorial's BCE is PyTorch's own, which clamps; Flax's has none on probabilities.
    loss_fn = recipe.loss
    if loss_fn is losses.flax:
        loss_fn = losses.pythae_vae_bce
    decoded: Any = _Decoded(files, recipe)
    order: list[int] = []
    workers = 2 if "workers" in options else 0
    loader = DataLoader(
        decoded,
        job.batch_size,
        sampler=order,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    for shuffled in _orders(job):
        order[:] = shuffled.tolist()  # as the sampler of shuffle=True does
        total = 0.0
        for x in loader:
            x = x.to(device)
            optimizer.zero_grad()
            pixels, mean, logvar = model(x)
            loss = loss_fn(pixels, mean, logvar, x)
            loss.backward()
            optimizer.step()
            total += loss.item()
        yield _report(total / len(loader), job)


def tuned(job: Job, *options: str) -> Iterator[Report]:
    """As fast as plain PyTorch goes: uint8 images on the device, BCE on logits, fused Adam.

    Yields what `tutorial` does.

    Args:
        job: what is trained.
        options: any of `compiled` (torch.compile of model and loss), `channels_last` and
            `cuda_graph` (the whole step captured once and replayed).
    """
    device = device_to_use()
    images = torch.from_numpy(stored_images(job)).movedim(-1, 1).contiguous().to(device)
    yield {"device": device_name()}

    layout = torch.channels_last if "channels_last" in options else torch.contiguous_format
    model: Any = initial(job)
    model.to(device=device, memory_format=layout)
    capturable = "cuda_graph" in options
    optimizers = [
        torch.optim.Adam([group], fused=True, capturable=capturable) for group in groups(model, job)
    ]
    total = torch.zeros((), device=device)
    losses = partial((variant_losses if job.variant else losses_on_logits)(model, job), layout)
    run_losses = torch.compile(losses) if "compiled" in options else losses

    def step(index: Tensor) -> None:
        for optimizer in optimizers:
            optimizer.zero_grad()
        minimised, loss = run_losses(images[index])
        minimised.backward()
        for optimizer in optimizers:
            optimizer.step()
        total.add_(loss.detach())

    take = _captured(step, model, optimizers, job.batch_size) if capturable else step
    num_steps = len(images) // job.batch_size
    for shuffled in _orders(job):
        total.zero_()
        order = shuffled.to(device)
        for i in range(num_steps):
            take(order[i * job.batch_size : (i + 1) * job.batch_size])
        yield _report(total.item() / num_steps, job)


def groups(model: Any, job: Job) -> list[dict[str, Any]]:
    """The parameters of each optimizer, with its settings."""
    if job.variant:
        return ENTRANTS[job.variant].parameters(model)
    [group] = RACED[job.experiment].optimizer(model.parameters()).param_groups
    return [{"params": group["params"], "lr": group["lr"]}]


Losses = Callable[[torch.memory_format, Tensor], tuple[Tensor, Tensor]]
"""Of stored images, what is differentiated and what is logged."""


def losses_on_logits(model: Any, job: Job) -> Losses:
    """Of one of `RACED`, as its source scales them; a decoder loses its sigmoid."""
    recipe = RACED[job.experiment]
    if job.bernoulli:
        model.decoder[-1] = nn.Identity()  # logits, not probabilities

    def losses_of(layout: torch.memory_format, stored: Tensor) -> tuple[Tensor, Tensor]:
        x = recipe.inputs(stored.float()).contiguous(memory_format=layout)
        pixels, mean, logvar = model(x)
        if not job.bernoulli:
            loss = recipe.loss(pixels, mean, logvar, x)
            return loss, loss
        bce = F.binary_cross_entropy_with_logits(pixels, x, reduction="sum")
        kl = -0.5 * torch.sum(1 + logvar - mean.pow(2) - logvar.exp())
        loss = (bce + kl) * (job.scale / job.batch_size)
        return loss, loss

    return losses_of


def variant_losses(model: Any, job: Job) -> Losses:
    """Of one of `ENTRANTS`, which draws by itself; code books follow at once."""
    entrant = ENTRANTS[job.variant]

    def losses_of(layout: torch.memory_format, stored: Tensor) -> tuple[Tensor, Tensor]:
        x = entrant.inputs(stored)
        x = x if entrant.flat else x.contiguous(memory_format=layout)
        terms = model.terms(x, **entrant.draw(model, len(x)))
        if hasattr(model, "update"):
            model.update(terms)
        return total_of(terms), terms["loss"].mean()

    return losses_of


def _captured(
    step: Callable[[Tensor], None],
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    batch_size: int,
) -> Callable[[Tensor], None]:
    """The step as a CUDA graph; the training steps that capturing needs are undone."""
    start = {name: value.clone() for name, value in model.state_dict().items()}
    index = torch.arange(batch_size, device="cuda")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step(index)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(index)
    model.load_state_dict(start)
    for moments in chain(*(optimizer.state.values() for optimizer in optimizers)):
        for value in moments.values():
            value.zero_()

    def replay(new: Tensor) -> None:
        index.copy_(new)
        graph.replay()

    return replay


class _Decoded:
    """A tutorial's data set: an encoded image per item."""

    def __init__(self, files: list[bytes], recipe: Recipe):
        self.files, self.inputs = files, recipe.inputs

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Tensor:
        pixels = np.array(Image.open(io.BytesIO(self.files[i])))
        return self.inputs(torch.from_numpy(pixels)[None].float())


def stored_images(job: Job) -> np.ndarray:
    return np.load(f"{job.folder}/images.npy")


def _orders(job: Job) -> Iterator[Tensor]:
    """The order of the images in each epoch: jaxvae's own, so that the losses can be compared."""
    return map(torch.from_numpy, np.load(f"{job.folder}/orders.npy"))


def initial(job: Job) -> Any:
    """The model, with the weights that everybody starts from."""
    arrays = np.load(f"{job.folder}/weights.npz")
    model = (ENTRANTS[job.variant] if job.variant else RACED[job.experiment]).model()
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    if hasattr(model, "number"):
        model.number = len(stored_images(job))  # of images, which the beta-TC's weights ask for
    return model


def device_to_use() -> str:
    """The device; sets up threads, and on a GPU the products that JAX computes there (TF32)."""
    torch.manual_seed(0)
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")
        return "cuda"
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    torch.set_num_threads(len(affinity(0)) if affinity else os.cpu_count() or 1)
    return "cpu"


def device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def _report(coded_loss: float, job: Job) -> Report:
    """The mean loss over an epoch's batches, as its source computes it, becomes nats per image."""
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    return {"loss": coded_loss / job.scale, "device_bytes": peak}
