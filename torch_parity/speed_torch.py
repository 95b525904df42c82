"""PyTorch as a contestant of the speed comparison, and the limit that the machine sets to all."""

import io
import os
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from torch_parity import losses
from torch_parity.recipes import RECIPES, Recipe
from torch_parity.speed_workers import Job, Report

# Plain matrix products are timed so often per epoch, of at most so many rows (on a CPU), which stay
# in its caches: a convolution need not write its patches to memory.
REPEATS, ROWS = 20, 4096
STREAM = 2**26  # float32 numbers in each array that the memory's bandwidth is measured with
ADAM_BYTES = 7 * 4  # per parameter: reads it, its gradient and two moments, writes all but one


def tutorial(job: Job) -> Iterator[Report]:
    """As tutorials train: a PNG decoded by Pillow per item, a DataLoader, eager, BCE on
    probabilities, Adam, `loss.item()` in each step.

    Yields the device, then after each epoch the mean `loss` in nats per image and `device_bytes`,
    the largest memory of a GPU (None on a CPU).
    """
    recipe, device = RECIPES[job.experiment], _device()
    files = [_png(image) for image in _images(job)]
    yield {"device": _device_name()}

    model = _initial(recipe, job).to(device)
    optimizer = recipe.optimizer(model.parameters())
    # A tutorial's BCE is PyTorch's own, which clamps; Flax's has none on probabilities.
    loss_fn = recipe.loss
    if loss_fn is losses.flax:
        loss_fn = losses.pythae_vae_bce
    decoded: Any = _Decoded(files, recipe)
    loader = DataLoader(decoded, job.batch_size, shuffle=True, drop_last=True)
    while True:
        total = 0.0
        for x in loader:
            x = x.to(device)
            optimizer.zero_grad()
            loss = loss_fn(*model(x), x)
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
    recipe, device = RECIPES[job.experiment], _device()
    images = torch.from_numpy(_images(job)).movedim(-1, 1).contiguous().to(device)
    yield {"device": _device_name()}

    layout = torch.channels_last if "channels_last" in options else torch.contiguous_format
    model = _initial(recipe, job).to(device=device, memory_format=layout)
    if job.bernoulli:
        assert isinstance(model.decoder, nn.Sequential)
        model.decoder.output_0 = nn.Identity()  # logits, not probabilities
    [group] = recipe.optimizer(model.parameters()).param_groups
    capturable = "cuda_graph" in options
    optimizer = torch.optim.Adam(
        model.parameters(), lr=group["lr"], fused=True, capturable=capturable
    )
    total = torch.zeros((), device=device)

    def loss_of(stored: Tensor) -> Tensor:
        x = recipe.inputs(stored.float()).contiguous(memory_format=layout)
        pixels, mean, logvar = model(x)
        if not job.bernoulli:
            return recipe.loss(pixels, mean, logvar, x)
        bce = F.binary_cross_entropy_with_logits(pixels, x, reduction="sum")
        kl = -0.5 * torch.sum(1 + logvar - mean.pow(2) - logvar.exp())
        return (bce + kl) * (job.scale / job.batch_size)

    run_loss = torch.compile(loss_of) if "compiled" in options else loss_of

    def step(index: Tensor) -> None:
        optimizer.zero_grad()
        loss = run_loss(images[index])
        loss.backward()
        optimizer.step()
        total.add_(loss.detach())

    take = _captured(step, model, optimizer, job.batch_size) if capturable else step
    num_steps = len(images) // job.batch_size
    while True:
        total.zero_()
        order = torch.randperm(len(images), device=device)
        for i in range(num_steps):
            take(order[i * job.batch_size : (i + 1) * job.batch_size])
        yield _report(total.item() / num_steps, job)


def _captured(
    step: Callable[[Tensor], None],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
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
    for moments in optimizer.state.values():
        for value in moments.values():
            value.zero_()

    def replay(new: Tensor) -> None:
        index.copy_(new)
        graph.replay()

    return replay


def limit(job: Job) -> Iterator[Report]:
    """What an epoch cannot be faster than: its matrix products, and Adam's memory traffic.

    Yields the device, then each time `seconds` of an epoch, the rates they follow from:
    `flops_per_second` of the products and `bytes_per_second` of the memory, and the `products`'
    part of the seconds.
    """
    recipe, device = RECIPES[job.experiment], _device()
    num_steps = len(_images(job)) // job.batch_size
    yield {"device": _device_name()}

    model = _initial(recipe, job)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    shapes = layer_shapes(model, job.batch_size)
    arrays = [torch.ones(STREAM, device=device) for _ in range(3)]
    while True:
        flops = seconds = 0.0
        for i, (m, k, n) in enumerate(shapes):
            rows = min(m, ROWS) if device == "cpu" else m
            x = torch.rand(rows, k, device=device)
            weight, gradient = torch.rand(k, n, device=device), torch.rand(rows, n, device=device)
            products = [(x, weight), (x.T, gradient), (gradient, weight.T)]
            for a, b in products[: 3 if i else 2]:  # nobody needs the images' gradient
                out = a @ b
                seconds += m / rows * _seconds(lambda a=a, b=b, out=out: torch.mm(a, b, out=out))
                flops += 2 * m * k * n
        bandwidth = (
            3
            * 4
            * STREAM
            / min(_seconds(lambda: torch.add(*arrays[:2], out=arrays[2]), 1) for _ in range(5))
        )
        adam = ADAM_BYTES * num_parameters / bandwidth
        yield {
            "seconds": num_steps * (seconds + adam),
            "products": num_steps * seconds,
            "flops_per_second": flops / seconds,
            "bytes_per_second": bandwidth,
        }


def layer_shapes(model: nn.Module, batch_size: int) -> list[tuple[int, int, int]]:
    """(m, k, n) of each layer's product (m, k) x (k, n), for 28x28 images, in order.

    A convolution is the product of its patches and its kernel; a transposed one is a convolution
    that is read backwards, with the same number of products.
    """
    shapes: list[tuple[int, int, int]] = []

    def note(layer: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
        if isinstance(layer, nn.Linear):
            shapes.append((batch_size, layer.in_features, layer.out_features))
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            small = output if isinstance(layer, nn.Conv2d) else args[0]
            large_channels = layer.weight[0].numel()  # times the kernel's height and width
            m = batch_size * small.shape[2] * small.shape[3]
            shapes.append((m, large_channels, small.shape[1]))

    handles = [layer.register_forward_hook(note) for layer in model.modules()]
    with torch.no_grad():
        model.eval()(torch.zeros(1, 1, 28, 28))
    for handle in handles:
        handle.remove()
    return shapes


def _seconds(run: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Seconds per call."""
    _synchronize()
    began = perf_counter()
    for _ in range(repeats):
        run()
    _synchronize()
    return (perf_counter() - began) / repeats


class _Decoded:
    """A tutorial's data set: an encoded image per item."""

    def __init__(self, files: list[bytes], recipe: Recipe):
        self.files, self.inputs = files, recipe.inputs

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Tensor:
        pixels = np.array(Image.open(io.BytesIO(self.files[i])))
        return self.inputs(torch.from_numpy(pixels)[None].float())


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0]).save(buffer, "png")
    return buffer.getvalue()


def _images(job: Job) -> np.ndarray:
    return np.load(f"{job.folder}/images.npy")


def _initial(recipe: Recipe, job: Job) -> nn.Module:
    arrays = np.load(f"{job.folder}/weights.npz")
    model = recipe.model()
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return model


def _device() -> str:
    """The device; sets up threads, and on a GPU the products that JAX computes there (TF32)."""
    torch.manual_seed(0)
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")
        return "cuda"
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    torch.set_num_threads(len(affinity(0)) if affinity else os.cpu_count() or 1)
    return "cpu"


def _device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _report(coded_loss: float, job: Job) -> Report:
    """The mean loss over an epoch's batches, as its source computes it, becomes nats per image."""
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    return {"loss": coded_loss / job.scale, "device_bytes": peak}
