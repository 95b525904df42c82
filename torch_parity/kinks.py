"""On which side of its kink an activation is entered: where gradients jump, and rounding decides.

ReLU, LeakyReLU and the absolute value have two slopes. Where the input lies within rounding of 0,
two libraries, or two processors that take a sum in another order, may see different sides; values
hardly change, but gradients jump. So a comparison measures how near to the kink inputs come, in
units of their own rounding, and can be repeated with the sides of one party given to the other:
what then is equal differed by these entries and by nothing else.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from jaxvae.interop.maps import Map

Slope = Callable[..., Any]  # the slope below 0, from the arguments of a call


def _relu(*_: Any, **__: Any) -> float:
    return 0.0


def _abs(*_: Any, **__: Any) -> float:
    return -1.0


def _leaky(x: Tensor, negative_slope: float = 0.01, *_: Any, **__: Any) -> float:
    return negative_slope


KINKED: Mapping[Any, Slope] = {
    **dict.fromkeys((torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu), _relu),
    **dict.fromkeys((F.leaky_relu, F.leaky_relu_, torch._C._nn.leaky_relu), _leaky),
    **dict.fromkeys((torch.abs, torch.absolute, Tensor.abs, Tensor.absolute, Tensor.__abs__), _abs),
}
"""The functions that are known to have a kink at 0, and only there. ELU, GELU and the rest have
none: their slopes are continuous."""

IN_PLACE = (torch.relu_, Tensor.relu_, F.leaky_relu_)

WINDOW = 0.1
"""How far a bias may be moved away from a kink, in standard deviations of what it is added to."""


class Kinks(TorchFunctionMode):
    """Within it, inputs of functions with a kink are noted, in order, and sides may be given.

    `inputs` are those of all calls; with `sides`, boolean arrays in the same order, a call takes
    the slope above 0 where they are True, whatever the sign of its input.
    """

    def __init__(self, sides: Sequence[np.ndarray] | None = None):
        super().__init__()
        self.sides = None if sides is None else list(sides)
        self.inputs: list[np.ndarray] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in KINKED:
            return func(*args, **kwargs)
        named = {name: value for name, value in kwargs.items() if name not in ("input", "inplace")}
        x: Tensor = args[0] if args else kwargs["input"]
        self.inputs.append(x.detach().numpy().copy())  # a copy: it may be changed in place
        if self.sides is None:
            return func(*args, **kwargs)
        above = torch.tensor(self.sides[len(self.inputs) - 1])
        y = torch.where(above, x, KINKED[func](x, *args[1:], **named) * x)
        in_place = func in IN_PLACE or kwargs.get("inplace", False)
        return x.copy_(y) if in_place else y


class _AwayFromKinks(TorchFunctionMode):
    """Within it, the bias in front of each kink is moved to the middle of the widest gap."""

    def __init__(self) -> None:
        super().__init__()
        self.last: Any = None  # the layer with a bias per channel that ran last

    def note(self, layer: nn.Module, args: Any, output: Tensor) -> None:
        self.last = layer

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func not in KINKED or self.last is None or self.last.bias is None or not args:
            return func(*args, **(kwargs or {}))
        x: Tensor = args[0]
        channels = x.detach().numpy().swapaxes(0, 1).reshape(x.shape[1], -1)
        shift = torch.tensor(np.array([_shift(values) for values in channels]))
        with torch.no_grad():
            self.last.bias += shift
        return func(x + shift.reshape(-1, *[1] * (x.ndim - 2)), *args[1:], **(kwargs or {}))


def _shift(values: np.ndarray) -> float:
    """What puts 0 into the middle of the widest gap between values, among those near 0."""
    width = WINDOW * max(float(values.std()), float(np.finfo(np.float32).tiny))
    near = np.sort(values[np.abs(values) < width])
    points = np.concatenate([[-width], near, [width]])
    widest = int(np.diff(points).argmax())
    return -float(points[widest] + points[widest + 1]) / 2


def move_from_kinks(model: nn.Module, run: Callable[[], object]) -> None:
    """Move the biases of `model`, a little, so that in `run()` no input of a kink is near it.

    One pass, from the first layer to the last, since each change is felt by those that follow. For
    models in float64 whose biases are per channel, axis 1, as those of `torch.nn` are.
    """
    mode = _AwayFromKinks()
    images = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)
    kinds = (nn.Linear, nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d, *images)
    handles = [m.register_forward_hook(mode.note) for m in model.modules() if isinstance(m, kinds)]
    statistics = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        with mode:
            run()
    finally:
        for handle in handles:
            handle.remove()
        model.load_state_dict(statistics, strict=False)  # which a run in training mode moves


def like(
    ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], weight_map: Map
) -> list[np.ndarray] | None:
    """Our inputs of activations in the order and layout of PyTorch's; None where they do not fit.

    Ours may be more, since not all activations have a kink: each of theirs is the first of the
    ours that are left which is like it.
    """
    flat = {layer.flat_out for layer in weight_map.values() if layer.flat_out is not None}
    left, found = iter(ours), []
    for b in theirs:
        fitting = (a for x in left for a in _layouts(x, b.shape, flat) if _is_like(a, b))
        match = next(fitting, None)
        if match is None:
            return None
        found.append(match)
    return found


def _layouts(
    x: np.ndarray, shape: tuple[int, ...], flat: set[tuple[int, ...]]
) -> Iterator[np.ndarray]:
    """Channels first; rows as they are, or in the order in which PyTorch flattens feature maps."""
    if x.size != np.prod(shape):
        return
    if x.ndim > 2:
        yield np.moveaxis(x, -1, 1).reshape(shape)
        return
    yield x.reshape(shape)
    for channels, *sizes in flat:
        if x.ndim == 2 and x.shape[1] == channels * np.prod(sizes, dtype=int):
            maps = x.reshape(-1, *sizes, channels)
            yield np.moveaxis(maps, -1, 1).reshape(shape)


def _is_like(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether it is the same array, but for some hundredths of its size."""
    return bool(np.abs(a - b).max() <= 0.01 * np.abs(b).max())


def nearness(inputs: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> tuple[float, str]:
    """How near to a kink inputs come: the largest of error / distance from 0, and where that is.

    Below 1 no entry can be on another side than the truth's. What is exactly 0 on both sides is no
    error; both libraries give ReLU and LeakyReLU the slope from below there.
    """
    worst, where = 0.0, ""
    for i, (a, b) in enumerate(zip(inputs, truth, strict=True)):
        error = np.abs(np.asarray(a, np.float64) - b)
        ratio = np.divide(error, np.abs(b), out=np.where(error > 0, np.inf, 0.0), where=b != 0)
        index = np.unravel_index(int(ratio.argmax()), ratio.shape)
        if not ratio[index] <= worst:  # NaN is the worst
            worst, where = float(ratio[index]), f"kink {i}[{', '.join(map(str, index))}]"
    return worst, where


def flips(inputs: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> int:
    """How many entries are on another side of a kink than the truth's."""
    return sum(int(((a > 0) != (b > 0)).sum()) for a, b in zip(inputs, truth, strict=True))
