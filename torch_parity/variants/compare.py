"""A variant of ours against its PyTorch model, in float64: a batch, and a training of 50 steps.

Ours is computed by the package's own loss and by its compiled program; nothing of an objective is
written here again. `torch_parity.variants.recipes` says what both are given.
"""

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor

from jaxvae import data, noise
from jaxvae.batch import Examples
from jaxvae.config import Data, Experiment
from jaxvae.data import Dataset
from jaxvae.data.batches import batch_index, epoch_order
from jaxvae.data.preprocess import preprocess
from jaxvae.interop.maps import Map
from jaxvae.interop.weights import to_torch
from jaxvae.models import Output
from jaxvae.noise import Noise
from jaxvae.training import program as programs
from jaxvae.training.state import TrainState, initial_state
from jaxvae.training.step import make_loss
from torch_parity.comparison import TOLERANCE
from torch_parity.difference import Comparison, difference
from torch_parity.experiments import experiment_of
from torch_parity.report import BATCH, EPOCHS, STEPS_PER_EPOCH, perturbed
from torch_parity.values import exactly
from torch_parity.variants import maps
from torch_parity.variants.parts import Terms, total
from torch_parity.variants.recipes import NARROW, VARIANTS, Variant

Quantities = dict[str, dict[str, np.ndarray]]
"""By name of the quantity and of the array."""

# What both sides log, where there is such a term; PyTorch's have others besides.
TERMS = (
    *("loss", "recon", "kl", "from_capacity", "lacking", "sigma", "encoder_loss"),
    *("tc", "critic", "mi", "dw_kl", "off_diagonal", "diagonal", "mmd", "sliced", "adversarial"),
    *("commitment", "codebook", "perplexity", "kl_continuous", "kl_discrete"),
)
OUTPUTS = ("logits", "decoded", "z", "z1", "z2", "kl_1", "kl_2", "log_ratio", "indices")

# Adam divides a gradient by its own size, so that an entry's relative error becomes one of its
# step: of entries of some 1e-6 of their array about 1e-10, of steps of 1e-3, on weights of 1e-1.
WEIGHTS_TOLERANCE = 1e-9


class Pair(NamedTuple):
    """An experiment, its PyTorch model, the map of its weights, and the digits that both see."""

    experiment: Experiment
    variant: Variant
    weight_map: Map
    model: Any
    dataset: Dataset

    def inputs(self, images: Any) -> Tensor:
        """What the PyTorch model sees of stored images."""
        return self.variant.inputs(torch.tensor(images / 255).movedim(-1, 1))

    def terms(self, model: Any, images: Any, given: dict[str, Tensor], **when: Any) -> Terms:
        """The PyTorch model's, who is told of `when`, step and train, what it takes."""
        known = inspect.signature(model.terms).parameters
        taken = {name: value for name, value in when.items() if name in known}
        return model.terms(self.inputs(images), **given, **taken)

    def given(self) -> Callable[[Noise, Any], dict[str, Tensor]]:
        """What the PyTorch model is given besides, from our noise and labels, compiled once."""
        draw = jax.jit(partial(self.variant.given, self.model))

        def tensors(own: Noise, labels: Any) -> dict[str, Tensor]:
            found = {n: torch.tensor(np.asarray(x)) for n, x in draw(own, labels).items()}
            return {n: x if x.is_floating_point() else x.long() for n, x in found.items()}

        return tensors

    def theirs(self, params: Any, collections: Any, gradient: bool = False) -> dict[str, Any]:
        """Parameters and collections of ours, or a gradient, by their PyTorch names."""
        variables = jax.tree.map(np.asarray, {"params": params, **collections})
        return to_torch(variables, self.weight_map, gradient)

    def start(self, state: TrainState) -> TrainState:
        """Our state before step 0, with the weights of the PyTorch model."""
        arrays = {name: value.detach().numpy() for name, value in self.model.state_dict().items()}
        return maps.start(state, self.experiment, arrays, self.weight_map)


def pair_of(
    name: str,
    experiment: Experiment,
    sizes: Mapping[str, Any],
    seed: int = 0,
) -> Pair:
    """The variant of this name, on a few digits, with weights away from special values.

    Args:
        name: of an experiment of the family.
        experiment: that of its file, perhaps with other widths.
        sizes: of the PyTorch model, where they are not those of the file.
        seed: of the weights.
    """
    settings = replace(experiment.data, batch_size=BATCH)
    experiment = replace(experiment, data=settings, train=replace(experiment.train, epochs=EPOCHS))
    digits = data.load(Data("digits"))
    train = digits.train.take(range(BATCH * STEPS_PER_EPOCH))
    held_out = digits.validation.take(range(4 * BATCH))
    dataset = digits._replace(train=train, validation=held_out, test=held_out)
    torch.manual_seed(seed)
    model: Any = perturbed(VARIANTS[name].model(**sizes), seed).double()
    pair = Pair(experiment, VARIANTS[name], maps.of(name), model, dataset)
    pair.variant.start(model, pair.inputs(train.images[:BATCH]))
    return pair


def our_batch(pair: Pair) -> Quantities:
    """What the first batch gives by our loss, under PyTorch's names."""
    experiment = pair.experiment
    images, labels = pair.dataset.train.images[:BATCH], pair.dataset.train.every_label[:BATCH]
    info = data.info(pair.dataset, experiment.data)
    module = experiment.model.build(info)
    state = pair.start(jax.eval_shape(partial(initial_state, experiment, module, info)))
    own = first_noise(experiment)

    @jax.jit
    def values(params: Any, collections: Any, images: jax.Array, labels: jax.Array) -> Any:
        batch = preprocess(experiment.data, Examples(images, labels, own.index), own, info)
        of = jax.value_and_grad(make_loss(module), has_aux=True)
        return of(params, collections, batch, experiment.objective)

    (minimised, forward), gradient = values(state.params, state.collections, images, labels)
    after = pair.theirs(state.params, forward.collections)
    quantities = {
        "terms": {"minimised": minimised} | forward.terms,
        "outputs": outputs(forward.output),
        "gradient": pair.theirs(gradient, {}, gradient=True),
        "collections": {name: after[name] for name, _ in pair.model.named_buffers()},
    }
    return jax.tree.map(np.asarray, quantities)


def outputs(output: Output) -> dict[str, jax.Array]:
    """Our output under PyTorch's names; images have one channel."""
    decoded = output.decoded
    flat = decoded.reshape(*decoded.shape[:-3], -1)
    found = {"logits": flat, "decoded": flat}
    found |= {} if output.log_ratio is None else {"log_ratio": output.log_ratio}
    found |= output.z if isinstance(output.z, dict) else {"z": output.z}
    if isinstance(output.kl, dict):
        found |= {name.replace("z", "kl_"): kl for name, kl in output.kl.items()}
    return found | {name: output.aux[name] for name in ("indices",) if name in output.aux}


def first_noise(experiment: Experiment) -> Noise:
    """That of the run's first step, for the first examples."""
    return Noise(noise.root(experiment.seed), jnp.asarray(0), jnp.arange(BATCH))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch's, for products so small that several would mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def their_batch(pair: Pair) -> Quantities:
    """What the first batch gives by PyTorch, whose model it changes not."""
    model, split = copy.deepcopy(pair.model), pair.dataset.train
    given = pair.given()(first_noise(pair.experiment), split.every_label[:BATCH])
    terms = pair.terms(model, split.images[:BATCH], given)
    minimised = total(terms)
    minimised.backward()
    pair.variant.update(model, terms)
    quantities = {
        "terms": {"minimised": minimised} | {n: terms[n] for n in TERMS if n in terms},
        "outputs": {n: terms[n] for n in OUTPUTS if n in terms},
        "gradient": {n: p.grad for n, p in model.named_parameters()},
        "collections": dict(model.named_buffers()),
    }
    return {q: {n: x.detach().numpy() for n, x in xs.items()} for q, xs in quantities.items()}


def our_training(pair: Pair) -> Quantities:
    """50 steps of our compiled program, a step per call, and its validation after them."""
    program, state = programs.build(pair.experiment, pair.dataset)
    state = pair.start(state)
    losses: list[dict[str, float]] = []
    for epoch in range(EPOCHS):
        step = epoch * program.steps_per_epoch
        for source, num_steps in program.chunks(step, step + program.steps_per_epoch):
            for _ in range(num_steps):
                state, sums = program.advance(state, program.sums(), source, 1)
                losses.append({name: float(value) for name, value in sums.items()})
    validation = {n: np.asarray(x) for n, x in program.validate(state.variables).items()}
    validation.pop("mse")  # of pixels, which is no term
    return {
        "training losses": stacked(losses),
        "validation losses": validation,
        "final weights": pair.theirs(state.params, state.collections),
    }


@one_thread()
def their_training(pair: Pair) -> Quantities:
    """The same by PyTorch, with our noise and our order of the examples."""
    model, (train, held_out) = copy.deepcopy(pair.model), pair.dataset[1:3]
    key, given = noise.root(pair.experiment.seed), pair.given()
    order_of = jax.jit(epoch_order, static_argnums=2)
    losses: list[dict[str, float]] = []

    def terms_of(split: Any, key: jax.Array, step: int | None, index: np.ndarray) -> Terms:
        """Of the training's step; without one, of an evaluation."""
        own = Noise(key, jnp.asarray(step or 0), jnp.asarray(index))
        found = given(own, split.every_label[index])
        return pair.terms(model, split.images[index], found, step=step, train=step is not None)

    def numbers(terms: Terms) -> dict[str, float]:
        return {name: terms[name].mean().item() for name in TERMS if name in terms}

    optimizers = pair.variant.optimizers(model)
    for epoch in range(EPOCHS):
        order = order_of(key, epoch, len(train.images))
        for i in range(STEPS_PER_EPOCH):
            index = np.asarray(batch_index(order, jnp.asarray(i), BATCH))
            terms = terms_of(train, key, len(losses), index)
            model.zero_grad()
            total(terms).backward()
            norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
            losses.append(numbers(terms) | {"grad_norm": norm.item()})
            pair.variant.update(model, terms)
            for optimizer in optimizers:
                optimizer.step()
    with torch.no_grad():
        batches = np.arange(len(held_out.images)).reshape(-1, BATCH)
        evaluation = noise.stream(key, "evaluate")
        validation = [numbers(terms_of(held_out, evaluation, None, index)) for index in batches]
    return {
        "training losses": stacked(losses),
        "validation losses": {n: x.mean() for n, x in stacked(validation).items()},
        "final weights": {n: value.detach().numpy() for n, value in model.state_dict().items()},
    }


def stacked(rows: list[dict[str, float]]) -> dict[str, np.ndarray]:
    """Of each number an array, (rows,)."""
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def differences(name: str, ours: Quantities, theirs: Quantities) -> Comparison:
    """Every quantity that there is, relative to the largest entry of each array."""
    found = []
    for quantity, arrays in theirs.items():
        mine = ours[quantity]
        if quantity == "outputs":  # ours may have more of them
            mine = {name: mine[name] for name in arrays if name in mine}
        if arrays or mine:
            weights = quantity == "final weights"
            tolerance = WEIGHTS_TOLERANCE if weights else TOLERANCE["float64"]
            found.append(difference(quantity, mine, arrays, tolerance))
    return Comparison(name, tuple(found))


def compare_variant(name: str, seed: int = 0) -> Comparison:
    """The first batch and a training of an experiment of the family."""
    fields, sizes = NARROW.get(name, ({}, {}))
    experiment = experiment_of(name)
    experiment = replace(experiment, model=replace(experiment.model, **fields))
    with exactly("float64"):
        pair = pair_of(name, experiment, sizes, seed)
        ours = our_batch(pair) | our_training(pair)
        return differences(name, ours, their_batch(pair) | their_training(pair))
