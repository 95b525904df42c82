"""The limit that the machine sets to all contestants of the speed comparison."""

from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import torch
from torch import Tensor, nn

from jaxvae.doctor.speed import ADAM_BYTES
from torch_parity.speed.pytorch import device_name, device_to_use, initial, stored_images
from torch_parity.speed.variants import ENTRANTS
from torch_parity.speed.workers import Job, Report

# Plain matrix products are timed so often per epoch, of at most so many rows, which stay in the
# caches: a convolution need not write its patches to memory. A GPU needs more rows to be filled,
# and more repeats, since a product may take but microseconds there.
REPEATS = {"cpu": 10, "cuda": 100}
ROWS = {"cpu": 4096, "cuda": 16384}
REPLAYS = 3  # of the graph of repeats on a GPU, before the host waits for them
STREAM = 2**26  # float32 numbers in each array that the memory's bandwidth is measured with


def limit(job: Job) -> Iterator[Report]:
    """What an epoch cannot be faster than: its matrix products, and Adam's memory traffic.

    Yields the device, then each time `seconds` of an epoch, the rates they follow from:
    `flops_per_second` of the products and `bytes_per_second` of the memory, and the `products`'
    part of the seconds.
    """
    device = device_to_use()
    stored = stored_images(job)
    num_steps = len(stored) // job.batch_size
    yield {"device": device_name()}

    model = initial(job)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    batch = torch.zeros(job.batch_size, *stored.shape[1:]).movedim(-1, 1)
    shapes = layer_shapes(model, partial(forward, model, job, batch))
    arrays = [torch.ones(STREAM, device=device) for _ in range(3)]
    while True:
        flops = seconds = 0.0
        for i, (m, k, n) in enumerate(shapes):
            rows = min(m, ROWS[device])
            products = [(rows, k, n), (k, rows, n), (rows, n, k)]  # output, two gradients
            for product in products[: 3 if i else 2]:  # nobody needs the images' gradient
                seconds += m / rows * _product_seconds(*product, device)
                flops += 2 * m * k * n
        add = partial(torch.add, *arrays[:2], out=arrays[2])
        bandwidth = 3 * 4 * STREAM / _seconds(add, device)
        adam = ADAM_BYTES * num_parameters / bandwidth
        yield {
            "seconds": num_steps * (seconds + adam),
            "products": num_steps * seconds,
            "flops_per_second": flops / seconds,
            "bytes_per_second": bandwidth,
        }


def _product_seconds(m: int, k: int, n: int, device: str) -> float:
    """Of (m, k) x (k, n) at best: in any layout by PyTorch, or by XLA. They can differ much.

    On a GPU by PyTorch alone, whose products can be captured in a graph: what a call of XLA's costs
    the host would be more than the product.
    """
    times = []
    if device == "cpu":
        xla_product = jax.jit(jnp.matmul)
        ours, theirs = jnp.ones((m, k)), jnp.ones((k, n))
        times = [_seconds(lambda: xla_product(ours, theirs).block_until_ready(), device)]
    out = torch.empty(m, n, device=device)
    for a in (torch.ones(m, k, device=device), torch.ones(k, m, device=device).T):
        for b in (torch.ones(k, n, device=device), torch.ones(n, k, device=device).T):
            times.append(_seconds(partial(torch.mm, a, b, out=out), device))
    return min(times)


def forward(model: Any, job: Job, batch: Tensor) -> None:
    """A pass over stored images (B, channels, height, width)."""
    if job.variant:
        entrant = ENTRANTS[job.variant]
        model.terms(entrant.inputs(batch), **entrant.draw(model, len(batch)))
    else:
        model.eval()(batch)


def layer_shapes(model: nn.Module, run: Callable[[], object]) -> list[tuple[int, int, int]]:
    """(m, k, n) of each layer's product (m, k) x (k, n) in a run of the model, in order.

    A convolution is the product of its patches and its kernel; a transposed one is a convolution
    that is read backwards, with the same number of products. A layer that is asked again for the
    same input, such as a decoder that is held the second time, need compute once.
    """
    shapes: list[tuple[int, int, int]] = []
    asked: dict[nn.Module, list[Tensor]] = {}

    def note(layer: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
        before = asked.setdefault(layer, [])
        if any(torch.equal(args[0], x) for x in before):
            return
        before.append(args[0])
        if isinstance(layer, nn.Linear):
            rows = args[0].numel() // layer.in_features
            shapes.append((rows, layer.in_features, layer.out_features))
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            small = output if isinstance(layer, nn.Conv2d) else args[0]
            large_channels = layer.weight[0].numel()  # times the kernel's height and width
            m = len(small) * small.shape[2] * small.shape[3]
            shapes.append((m, large_channels, small.shape[1]))

    handles = [layer.register_forward_hook(note) for layer in model.modules()]
    with torch.no_grad():
        run()
    for handle in handles:
        handle.remove()
    return shapes


def _seconds(run: Callable[[], Any], device: str) -> float:
    """Seconds per call, after one to warm up; on a GPU of calls that the host need not start."""
    repeats = REPEATS[device]
    run()
    if device == "cpu":
        began = perf_counter()
        for _ in range(repeats):
            run()
        return (perf_counter() - began) / repeats
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(repeats):
            run()
    graph.replay()
    torch.cuda.synchronize()
    began = perf_counter()
    for _ in range(REPLAYS):
        graph.replay()
    torch.cuda.synchronize()
    return (perf_counter() - began) / (REPLAYS * repeats)
