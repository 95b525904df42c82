"""What a step of a variant costs, as a multiple of that of the model it extends.

    python docs/variant_speed.py        about three minutes on two cores that do nothing else

Both take turns, a number of rounds; printed are the median time of a step, and the median over the
rounds of the quotient with its quartiles. Digits as MNIST has them, 28x28, batch 128.
"""

import statistics
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import Any

import jax
import numpy as np

from jaxvae import Data, Experiment, Model
from jaxvae.data import Dataset, Split
from jaxvae.models.critics import Critic
from jaxvae.runs import load_experiment
from jaxvae.training import program as programs

ROUNDS, STEPS, BATCH = 15, 40, 128
DENSE = Model(hidden_dims=(256,), latent_dim=20)
TEN = Model(hidden_dims=(256,), latent_dim=10)
CAE = Model(family="CAE", network="conv", hidden_dims=(16, 32))


def dataset() -> Dataset:
    """As many grey images as the steps of a round need."""
    images = np.random.default_rng(0).integers(0, 256, (BATCH * STEPS, 28, 28, 1), np.uint8)
    train = Split(images, np.zeros(len(images), np.int32))
    held_out = train.take(np.arange(BATCH))
    return Dataset("random", train, held_out, held_out, None, "random")


def stepper(experiment: Experiment, batch_size: int = BATCH) -> Callable[[], float]:
    """Seconds of a step, the mean over a round."""
    data = replace(experiment.data, source="random", batch_size=batch_size)
    program, state = programs.build(replace(experiment, data=data), dataset())
    steps = program.steps_per_epoch
    chunks = [*program.chunks(0, steps)]

    def seconds() -> float:
        nonlocal state
        began = perf_counter()
        for source, number in chunks:
            state, sums = program.advance(state, program.sums(), source, number)
        jax.block_until_ready(sums)
        state = replace(state, step=state.step * 0)
        return (perf_counter() - began) / steps

    seconds()
    return seconds


def critic_alone(latents: int, widths: tuple[int, ...]) -> Callable[[], float]:
    """A critic's part of a step by itself: three passes and two gradients."""
    critic, z = Critic(widths), jax.random.normal(jax.random.key(0), (BATCH, latents))
    params: Any = critic.init(jax.random.key(1), z)

    @jax.jit
    def both(params: Any, z: jax.Array) -> Any:
        def loss(params: Any, z: jax.Array) -> jax.Array:
            held = jax.lax.stop_gradient
            logits: Any = critic.apply(held(params), z)
            judged: Any = [critic.apply(params, held(codes)) for codes in (z, z[::-1])]
            return logits.sum() + sum(jax.nn.log_softmax(found)[:, 0].sum() for found in judged)

        return jax.grad(loss, (0, 1))(params, z)

    def seconds() -> float:
        began = perf_counter()
        for _ in range(STEPS):
            found = both(params, z)
        jax.block_until_ready(found)
        return (perf_counter() - began) / STEPS

    seconds()
    return seconds


def compared(name: str, variant: Callable[[], float], *bases: Callable[[], float]) -> None:
    """Print a line: the variant, against all that it is to be compared with together."""
    rounds = [(variant(), sum(base() for base in bases)) for _ in range(ROUNDS)]
    quotients = [a / b for a, b in rounds]
    low, middle, high = statistics.quantiles(quotients, n=4)
    ours, theirs = (1000 * statistics.median(times) for times in zip(*rounds, strict=True))
    print(f"{name:44} {ours:7.3f} ms {theirs:7.3f} ms {middle:6.2f} ({low:.2f} to {high:.2f})")


def main() -> None:
    """See above."""

    def of(name: str, **objective: Any) -> Experiment:
        found = load_experiment(name)
        return replace(found, objective=replace(found.objective, **objective))

    vae, ten, cae = (
        Experiment("vae", data=Data("random"), model=DENSE),
        Experiment("vae", data=Data("random"), model=TEN),
        Experiment("cae", data=Data("random"), model=CAE),
    )
    for name in ("k_sample_vae", "iwae", "ciwae", "stl_vae", "dreg", "renyi_vae"):
        compared(f"{name}, 5 samples / vae", stepper(of(name)), stepper(vae))
    compared("piwae, 2 x 4 samples / vae", stepper(of("piwae")), stepper(vae))
    compared("iwae, 50 samples / vae", stepper(of("iwae", samples=50)), stepper(vae))
    critic = critic_alone(10, (256, 256, 256))
    compared("factor_vae / vae and critic", stepper(of("factor_vae")), stepper(ten), critic)
    for name in ("beta_tc_vae", "dip_vae_ii", "info_vae"):
        for batch in (64, 128, 512):
            both = stepper(of(name), batch), stepper(ten, batch)
            compared(f"{name}, batch {batch} / vae", *both)
    many = replace(load_experiment("vq_vae"))
    for name, codes in (("vq_vae", 64), ("vq_vae", 512), ("vq_vae_gradient", 512)):
        model: Any = load_experiment(name).model
        experiment = replace(many, model=replace(model, codes=codes))
        compared(f"{name}, {codes} codes / cae", stepper(experiment), stepper(cae))
    for name in ("residual_vq_vae", "fsq_vae"):
        compared(f"{name} / cae", stepper(load_experiment(name)), stepper(cae))
    compared("gumbel_vae / vae", stepper(load_experiment("gumbel_vae")), stepper(vae))


if __name__ == "__main__":
    main()
