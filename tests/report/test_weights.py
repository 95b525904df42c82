"""The network as layers: they are the model, and what is not is noticed."""

from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Model, Objective, runs
from jaxvae.batch import Batch
from jaxvae.build import networks
from jaxvae.evaluation import Trained, decode, embed, prepare
from jaxvae.evaluation.trained import gaussian_posterior
from jaxvae.models import VAE
from jaxvae.report import layers, weights
from jaxvae.report.blobs import Blobs
from tests.evaluation import subjects
from tests.report import made

LINEAR = {"objective": Objective("gaussian")}


def batch_of(trained: Trained, split: Any) -> Batch:
    return prepare(trained, split.take(np.arange(8)))


QUICK = ("dense", "linear")
EVERY = [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in made.MODELS]


@pytest.mark.parametrize("name", EVERY)
def test_layers_are_the_model(name):
    """With the same rounded kernels to rounding, and with the model's own to half precision's.

    A kernel is off by 2^-11 of itself; sums of some hundred such terms by well below 1e-2.
    """
    trained = made.trained(made.MODELS[name])
    batch = batch_of(trained, subjects.images(8))
    network = weights.export(trained, batch)
    assert network.lacks == ()
    code = embed(trained, batch)
    found = weights.decoded(trained, network.decoder, code, batch.label)
    # A codebook's codes may differ by the rounding of the projection; a decoder has none.
    np.testing.assert_allclose(found, decode(made.rounded(trained), code), atol=1e-5)
    np.testing.assert_allclose(found, decode(trained, code), atol=1e-2)
    assert np.ptp(found) > 0.05  # not all grey, which would be equal to anything grey
    h = layers.compute(network.encoder, np.asarray(batch.input))
    own = {name: layers.compute(head, h) for name, head in network.heads.items()}
    exact = embed(made.rounded(trained), batch).reshape(8, -1)
    np.testing.assert_allclose(own.get("mean", own.get("code")), exact, atol=1e-4)
    if "logvar" in own:
        posterior = gaussian_posterior(made.rounded(trained), batch)
        np.testing.assert_allclose(own["logvar"], posterior[1], atol=1e-4)


@pytest.mark.slow
def test_of_colours_odd_sizes_and_signals():
    for split, linear in ((made.colour, {}), (made.signals, {"output": "linear"})):
        data = made.dataset_of(split)
        model = Model(**made.CONV, batch_norm=True, **linear)
        trained = made.trained(model, data, **(LINEAR if linear else {}))
        batch = batch_of(trained, data.test)
        network = weights.export(trained, batch)
        assert network.lacks == ()
        code = embed(trained, batch)
        found = weights.decoded(trained, network.decoder, code, batch.label)
        np.testing.assert_allclose(found, decode(trained, code), atol=1e-2)
        converted = weights.as_json(network, Blobs())
        convolution = converted["encoder"][0]
        assert len(convolution["before"]) == 3 and len(convolution["taps"]) == 2


def test_a_conditional_model_is_told_the_class():
    model = runs.load_experiment("conditional_vae").model
    trained = made.trained(replace(model, hidden_dims=(16,), latent_dim=2))
    batch = batch_of(trained, subjects.images(8))
    network = weights.export(trained, batch)
    assert network.lacks == ()
    assert network.decoder[0] == {"kind": "label", "classes": subjects.CLASSES}
    assert network.encoder[0]["kind"] == "label"


class Doubled(VAE, kw_only=True):
    """Computes something that its layers do not say."""

    def decode(self, z: Any, batch: Any, train: bool = False) -> Any:
        return super().decode(2 * z, batch, train)


class Tilted(VAE, kw_only=True):
    def features(self, batch: Any, train: bool = False) -> Any:
        return super().features(replace(batch, input=1 - batch.input), train)


@dataclass(frozen=True)
class Odd(Model):
    cls: Any = Doubled

    def build(self, info: Any) -> Any:
        return self.cls(**networks(self, info), latent_dim=self.latent_dim)


def test_another_prior_leaves_the_code_of_an_example():
    """Of a VampPrior the posterior's mean is the code; a posterior that a flow bends is not."""
    for name, known in (("vamp_prior_vae", True), ("flow_vae", False)):
        trained = subjects.trained(runs.load_experiment(name), subjects.dataset())
        network = weights.export(trained, batch_of(trained, subjects.images(8)))
        assert network.decoder is not None and (network.encoder is not None) == known
        assert [*network.heads] == (["code"] if known else [])


def test_what_is_no_longer_the_model_is_left_out():
    batch = prepare(made.trained(Model()), subjects.images(8))
    odd = Odd(hidden_dims=(16,), latent_dim=2)
    network = weights.export(made.trained(odd), batch)
    assert network.decoder is None and network.encoder is not None
    assert network.lacks[0].startswith("The page cannot compute the decoder: it does more than")
    network = weights.export(made.trained(replace(odd, cls=Tilted)), batch)
    assert network.encoder is None and network.decoder is not None and network.heads == {}
    assert network.lacks[0].endswith("Nothing of your own can be encoded here.")


def test_a_wrong_layer_is_noticed(monkeypatch):
    """A planted fault: ReLU in the place of leaky ReLU."""
    trained = made.trained(made.MODELS["batch_norm"])
    batch = batch_of(trained, subjects.images(8))
    relu = {"kind": "activation", "name": "relu", "slope": 0.0}
    monkeypatch.setattr(layers, "_activation", lambda settings: relu)
    network = weights.export(trained, batch)
    assert network.decoder is None and network.encoder is None and len(network.lacks) == 2


def test_what_is_too_large_for_a_page_is_left_out(monkeypatch):
    trained = made.trained(made.MODELS["dense"])
    batch = batch_of(trained, subjects.images(8))
    sides = weights.export(trained, batch)
    decoder = weights.size_of(sides.decoder)
    assert decoder == 2 * (2 * 8 + 8 * 16 + 16 * 144) + 4 * (8 + 16 + 144)
    monkeypatch.setattr(weights, "LARGEST", decoder)
    network = weights.export(trained, batch)
    assert network.decoder is not None and network.encoder is None
    monkeypatch.setattr(weights, "OPERATIONS", 2 * 8 + 8 * 16 + 16 * 144 - 1)
    network = weights.export(trained, batch)
    assert network.decoder is None and "products, too many" in network.lacks[0]


def test_operations_of_convolutions():
    """A 12x12 image, kernels 3x3, stride 2: 6x6 and 3x3 places, each with the whole kernel."""
    encoder, _, decoder = layers.layers_of(made.trained(Model(**made.CONV)), (3,))
    convolutions = [layer for layer in decoder if "before" in layer]
    assert weights.operations_of(convolutions) == 9 * 9 * 6 * 4 + 36 * 9 * 4 * 1
    convolutions = [layer for layer in encoder if "before" in layer]
    assert weights.operations_of(convolutions) == 36 * 9 * 1 * 4 + 9 * 9 * 4 * 6


def test_arrays_come_back_from_the_page():
    encoder, heads, decoder = layers.layers_of(made.trained(Model(**made.CONV)), (3,))
    blobs = Blobs()
    written = weights.as_json(weights.Network(encoder, heads, decoder, ()), blobs)
    pools = {name: blobs.read(where) for name, where in written["weights"].items()}
    assert pools["float16"].dtype == np.float16 and pools["float32"].dtype == np.float32
    for layer, plain in zip(decoder, written["decoder"], strict=True):
        for name in ("kernel", "bias"):
            if name in layer:
                dtype, start, length = plain[name]
                again = pools[dtype][start : start + length].reshape(layer[name].shape)
                np.testing.assert_array_equal(again, layer[name])
    assert jnp.asarray(decoder[0]["kernel"]).dtype == jnp.float16


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16", "float32"])
def test_blobs_keep_arrays(dtype):
    array = np.arange(-3, 9).reshape(3, 4).astype(dtype)
    blobs = Blobs()
    where = blobs.add("some", array)
    assert where == {"blob": "some", "dtype": dtype, "shape": [3, 4]}
    again = blobs.read(where)
    assert again.dtype == array.dtype
    np.testing.assert_array_equal(again, array)
    assert blobs.packed["some"].isascii() and "<" not in blobs.packed["some"]
