"""Run by test_parallel.py in a process with four CPU devices: each runner's numbers to a .npz file.

Usage: python runners.py OUT.npz
"""

import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Parallel, Train, axis, noise
from jaxvae.batch import Examples
from jaxvae.data import Dataset, Split
from jaxvae.data.lazy import LazyImages
from jaxvae.data.preprocess import preprocess
from jaxvae.info import Info
from jaxvae.noise import Noise
from jaxvae.training import devices, initial_state
from jaxvae.training import program as programs
from jaxvae.training.devices import WHOLE
from jaxvae.training.step import make_loss
from jaxvae.variants.aggregated import BetaTC

FEW = (("jit", 1), ("sharded", 4), ("shard_map", 4), ("pmap", 4))
MORE = (("sharded", 2), ("shard_map", 1), ("shard_map", 2), ("pmap", 2))  # in float32 alone
BATCH, SHAPE = 12, (6, 6, 1)

# All that has a state, draws noise, or depends on the size of the batch.
EXPERIMENT = Experiment(
    name="parallel",
    data=Data(batch_size=BATCH, binarize="dynamic", corruption="masking", corruption_level=0.1),
    model=Model(hidden_dims=(8,), latent_dim=2, batch_norm=True, dropout=0.3),
    objective=Objective(batch_reduction="sum"),
    optimizer=Optimizer("sgd", learning_rate=0.01, options={"momentum": 0.9}, ema_decay=0.9),
    train=Train(epochs=3, chunk_steps=3),
)
# The same without BatchNorm, whose batches can be in parts: 3 images of each of four devices.
APART = replace(EXPERIMENT, model=replace(EXPERIMENT.model, batch_norm=False))
PARTS = replace(APART, train=replace(APART.train, sub_batch=1))
# And with a term across the batch that depends on the order of the examples.
TC = BetaTC(batch_reduction="sum", tc_weight=3.0, estimator="mss")
ACROSS, ACROSS_PARTS = (replace(e, objective=TC) for e in (APART, PARTS))


def dataset(streamed: bool = False) -> Dataset:
    """40 images to train on, 3 batches an epoch; 17 to validate on, an uneven number."""
    images = np.random.default_rng(0).integers(0, 256, (57, *SHAPE), np.uint8)
    train, held_out = Split(images[:40], None), Split(images[40:], None)
    if streamed:
        everything = LazyImages(lambda records: (images[i] for i in records), np.arange(57), SHAPE)
        train, held_out = (
            Split(everything.take(np.arange(*rows)), None) for rows in ((0, 40), (40, 57))
        )
    return Dataset("random", train, held_out, held_out, None, "")


def gradient(runner: devices.Runner) -> dict[str, np.ndarray]:
    """Of the training loss on one batch, without an optimizer, and the noise of the batch."""
    info = Info(SHAPE)
    module = EXPERIMENT.model.build(info)
    loss, objective = make_loss(module), EXPERIMENT.objective
    index = np.arange(BATCH, dtype=np.int32) * 3
    images = dataset().train.images[index]
    state = runner.make(lambda: initial_state(EXPERIMENT, module, info))
    key = runner.make(lambda: noise.root(7))

    def function(params, collections, images, index, key):
        position = axis.divide(jnp.arange(BATCH))
        index = index[position]
        examples = Examples(images[position], jnp.full_like(index, -1), index)
        own = Noise(key, 5, index)
        batch = preprocess(EXPERIMENT.data, examples, own, info)
        found, forward = jax.grad(loss, has_aux=True)(params, collections, batch, objective)
        eps = own.normal("eps", (4,))
        whole = jnp.zeros((BATCH, 4)).at[position].set(eps)  # the other devices' rows are 0
        if axis.is_bound():
            whole = jax.lax.psum(whole, axis.NAME)
        return axis.mean(found), forward.collections, whole

    args = state.params, state.collections, runner.put(images), runner.put(index), key
    compiled = runner.compile(function, *args, specs=(WHOLE,) * 5)
    found, statistics, eps = compiled(*args)
    numbers = {"gradient": flat(found), "collections": flat(statistics), "eps": np.asarray(eps)}
    if runner.name != "pmap":  # whose compiled program is inside a function
        part = f"[{BATCH // runner.mesh.size},8]"  # activations of the hidden layer
        numbers["is_divided"] = np.array(part in compiled.as_text())
    return numbers


def flat(tree) -> np.ndarray:
    return np.concatenate([np.ravel(np.asarray(x)) for x in jax.tree.leaves(tree)])


def curve(
    parallel: Parallel, streamed: bool = False, experiment: Experiment = EXPERIMENT
) -> dict[str, np.ndarray]:
    """Three epochs of the compiled program: the losses, and the parameters after the first step."""
    program, state = programs.build(experiment, dataset(streamed), parallel)
    losses, first = [], None
    for epoch in range(experiment.train.epochs):
        step = epoch * program.steps_per_epoch
        for source, num_steps in program.chunks(step, step + program.steps_per_epoch):
            for _ in range(num_steps):
                state, sums = program.advance(state, program.sums(), source, 1)
                losses.append([float(sums["loss"]), float(sums["grad_norm"])])
                first = flat(state.params) if first is None else first
        validation = program.validate(state.variables)
        losses.append([float(validation["loss"]), float(validation["mse"])])
    return {"losses": np.array(losses), "first": first}


def main(out: str) -> None:
    whole = curve(Parallel("jit", 1), experiment=APART)
    found = {f"jit-0-{key}": value for key, value in whole.items()}
    whole = curve(Parallel("jit", 1), experiment=ACROSS)
    found |= {f"jit-0-across-{key}": value for key, value in whole.items()}
    for name, count in FEW if jax.config.jax_enable_x64 else FEW + MORE:
        parallel = Parallel(name, count)
        runner = devices.choose(parallel, BATCH)
        numbers = curve(parallel) | gradient(runner)
        if (name, count) in FEW:
            of_parts = curve(parallel, streamed=name == "shard_map", experiment=PARTS)
            numbers |= {f"parts-{key}": value for key, value in of_parts.items()}
            of_parts = curve(parallel, experiment=ACROSS_PARTS)
            numbers |= {f"parts-across-{key}": value for key, value in of_parts.items()}
        if not jax.config.jax_enable_x64:
            numbers["streamed"] = curve(parallel, streamed=True)["losses"]
        found |= {f"{name}-{count}-{key}": value for key, value in numbers.items()}
    np.savez(out, **found)


if __name__ == "__main__":
    main(sys.argv[1])
