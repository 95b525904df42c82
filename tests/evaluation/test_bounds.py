"""ELBO <= bound of K <= log p(x): where log p(x) is known, and whatever the parts and devices."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import noise
from jaxvae.batch import Examples
from jaxvae.checks import UsageError
from jaxvae.evaluation import bounds, importance, score
from jaxvae.evaluation.importance import Weights, make_log_weights, nll, no_weights
from jaxvae.evaluation.posterior import decomposition, posteriors, units
from jaxvae.evaluation.subject import Measuring, Subject, mean_of
from jaxvae.objectives.likelihoods import bernoulli_nll, bernoulli_nll_of_samples
from jaxvae.training.state import initial_state
from tests.evaluation.linear import drawn, evidence, linear_gaussian
from tests.variants.small import INFO, SHAPE, dataset, small

pytestmark = pytest.mark.numeric


def variant(name: str, **objective):
    """A small variant before any step."""
    from jaxvae.evaluation import Trained

    experiment = small(name, **objective)
    module = experiment.model.build(INFO)
    variables = initial_state(experiment, module, INFO).variables
    return Trained(experiment, module, variables, SHAPE, INFO)


def subject(trained, split, **settings) -> Subject:
    return Subject(trained, split, lambda: dataset(), Measuring(**settings))


@pytest.mark.parametrize("number", [1, 7, 120])
def test_from_the_posterior_every_bound_is_the_evidence(number):
    """All weights are equal, so that the effective sample size is K."""
    trained, columns, b = linear_gaussian(2)
    split = drawn(columns, b, 6)
    bound, effective = nll(trained, split, number)
    np.testing.assert_allclose(bound, -evidence(columns, b, split.images), atol=5e-5)
    np.testing.assert_allclose(effective, number, rtol=1e-3)


def test_elbo_below_the_bound_below_the_evidence():
    """In the mean over 300 rows, with posteriors that are three times too wide: by five standard
    errors of the difference at each step. With 2000 draws, of which 430 count, a row scatters by
    0.05, the mean by 0.003."""
    trained, columns, b = linear_gaussian(2, spread=3.0)
    split = drawn(columns, b, 300)
    log_p = evidence(columns, b, split.images)
    bounds_found = [-nll(trained, split, number)[0] for number in (1, 10, 2000)]
    for lower, upper in itertools.pairwise([*bounds_found[:2], log_p]):
        gap = upper - lower
        assert gap.mean() > 5 * gap.std() / len(gap) ** 0.5
    assert bounds_found[2].mean() == pytest.approx(log_p.mean(), abs=0.02)


def test_with_one_draw_it_is_the_elbo_of_that_draw():
    trained = variant("iwae", samples=1)
    split = dataset().validation
    rows = score.terms(trained, split, sampled=True).rows
    np.testing.assert_allclose(nll(trained, split, 1)[0], rows["loss"], rtol=1e-5)


@pytest.mark.parametrize("name", ["iwae", "conditional_vae", "two_layer_vae", "flow_vae"])
def test_chunks_and_batches_do_not_matter(name, monkeypatch):
    """Against all weights at once; 33 draws are no multiple of 10, nor 17 images of 3."""
    trained, split = variant(name), dataset().validation
    log_weights = jax.jit(make_log_weights(trained.experiment, trained.model, trained.info))
    n = len(split.images)
    examples = Examples(split.images, split.every_label, np.arange(n, dtype=np.int32))
    key = noise.root(trained.experiment.seed)
    log_w = log_weights(trained.variables, examples, key, jnp.arange(33))
    whole = np.log(33) - np.asarray(jax.nn.logsumexp(log_w, axis=0))
    monkeypatch.setattr(importance, "DRAWS", 10)
    monkeypatch.setattr(importance, "VALUES", 3 * 10 * 64)
    bound, effective = nll(trained, split, 33)
    np.testing.assert_allclose(bound, whole, rtol=1e-5, atol=1e-5)
    w = np.exp(np.asarray(log_w, float) - np.asarray(log_w, float).max(axis=0))
    np.testing.assert_allclose(effective, w.sum(0) ** 2 / (w**2).sum(0), rtol=1e-3)


def test_weights_are_added_up_in_any_parts():
    """Weights 1, 2, 4, ... times e^300 and e^-300, which neither overflow nor vanish."""
    log_w = jnp.log(2.0) * jnp.arange(8.0)[:, None] + jnp.array([[300.0, -300.0]])
    for parts in ([8], [1, 7], [3, 3, 2]):
        found = no_weights(2)
        for part in jnp.split(log_w, np.cumsum(parts)[:-1]):
            found = found.add(part)
        expected = np.log(8 / 255) - np.array([300, -300])
        np.testing.assert_allclose(found.nll(8), expected, rtol=1e-6)
        np.testing.assert_allclose(found.effective_size, 255**2 / ((4**8 - 1) / 3), rtol=1e-5)
    one = Weights(jnp.zeros(1), jnp.ones(1), jnp.ones(1)).add(jnp.full((9, 1), -50.0))
    assert float(one.effective_size[0]) == pytest.approx(1)


@pytest.mark.parametrize("length", [3, 16, 33, 64, 784])
@pytest.mark.parametrize("observed", [False, True])
def test_one_logarithm_for_many_values_is_the_same_likelihood(length, observed):
    """To 1e-5 nats per value, at logits of up to 30."""
    rng = np.random.default_rng(length)
    logits = jnp.asarray(rng.normal(size=(4, 5, length)) * 10, jnp.float32)
    x = jnp.asarray(rng.uniform(size=(5, length)), jnp.float32)
    seen = jnp.asarray(rng.uniform(size=x.shape) < 0.6) if observed else None
    found, expected = bernoulli_nll_of_samples(logits, x, seen), bernoulli_nll(logits, x, seen)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5 * length)


def test_the_grid_integrates_to_the_evidence(monkeypatch):
    monkeypatch.setattr(bounds, "GRID_IMAGES", 50)
    trained, columns, b = linear_gaussian(2)
    split = drawn(columns, b, 4)
    found = bounds.log_p_by_grid(trained, split)
    np.testing.assert_allclose(found, evidence(columns, b, split.images), atol=2e-4)
    with pytest.raises(UsageError, match="two latents: this model has 3"):
        bounds.log_p_by_grid(linear_gaussian(3)[0], split)
    # Three times too wide: 5.8 nats below, and with 5 draws some 0.5, of means that scatter by 0.1.
    trained, columns, b = linear_gaussian(2, spread=3.0)
    values = bounds.nll(subject(trained, drawn(columns, b, 50), num_samples=5)).values
    assert values["grid_elbo"] < values["grid_bound"] < values["grid_log_p"]
    assert values["grid_images"] == 50
    narrow = bounds.nll(subject(linear_gaussian(2, spread=0.01)[0], split, num_samples=2))
    assert "grid_log_p" not in narrow.values and "narrower than half" in " ".join(narrow.notes)


def test_a_group_says_elbo_bits_and_what_is_no_bound():
    trained, columns, b = linear_gaussian(2)
    split = drawn(columns, b, 50)
    found = bounds.elbo(subject(trained, split))
    v = found.values
    assert v["elbo"] == pytest.approx(-(v["recon"] + v["kl"]), rel=1e-6)
    assert v["elbo_at_mean"] > v["elbo"] and "no bound" in " ".join(found.notes)
    assert "bits_per_dim" not in v and "density" in " ".join(found.notes)


def test_bits_per_dimension_of_black_and_white_pixels_alone():
    trained, split = variant("iwae"), dataset().validation
    values, why = bounds.bits_per_dim(subject(trained, split), np.full(3, 64 * np.log(2)))
    assert values == {} and "grey" in why[0]
    binary = split._replace(images=np.where(split.images > 127, 255, 0).astype(np.uint8))
    values, why = bounds.bits_per_dim(subject(trained, binary), np.full(3, 64 * np.log(2)))
    assert values["bits_per_dim"] == pytest.approx(1) and not why


def test_mean_and_standard_error_by_hand():
    assert mean_of("a", np.array([1.0, 2.0, 6.0])) == pytest.approx(
        {"a": 3.0, "a_se": (7 / 3) ** 0.5}
    )
    assert mean_of("a", np.array([5.0])) == {"a": 5.0}


def test_posteriors_and_units_of_known_ones():
    """Two latents with KL by the formula; the third has none, and is collapsed."""
    trained, columns, b = linear_gaussian(2)
    split = drawn(columns, b, 30)
    mean, logvar = posteriors(trained, split)
    v = units(subject(trained, split)).values
    assert (v["active"], v["latents"], v["collapsed"]) == (2, 2, 0)
    kl = 0.5 * (mean.astype(float) ** 2 + np.exp(logvar) - 1 - logvar)
    np.testing.assert_allclose([v["kl_1"], v["kl_2"]], kl.mean(axis=0), rtol=1e-5)
    zeros = jax.tree.map(jnp.zeros_like, trained.variables)
    found = units(subject(trained._replace(variables=zeros), split))
    assert (found.values["active"], found.values["collapsed"]) == (0, 2)
    assert "say nothing" in found.notes[0]


def test_decomposition_adds_up_and_parts_and_order_do_not_matter(monkeypatch):
    """KL = MI + TC + dwKL within five standard errors, of 400 codes under 400 posteriors; images
    that are sorted give what others do, but for the draw, within as much."""
    from jaxvae.evaluation import posterior

    trained, columns, b = linear_gaussian(2)
    whole = drawn(columns, b, 400)
    v = decomposition(Subject(trained, whole, lambda: dataset()._replace(train=whole))).values
    three = ("mutual_information", "total_correlation", "dimension_wise_kl")
    error = sum(v[f"{name}_se"] for name in three)  # at least that of the sum
    assert sum(v[name] for name in three) == pytest.approx(v["kl"], abs=5 * error)
    assert 0 < v["mutual_information"] <= np.log(400) + 1e-4
    monkeypatch.setattr(posterior, "TOGETHER", (7, 11))
    again = decomposition(Subject(trained, whole, lambda: dataset()._replace(train=whole))).values
    assert again == pytest.approx(v, rel=1e-4, abs=1e-4)
    ordered = whole.take(np.argsort(whole.images[:, 0]))
    other = decomposition(Subject(trained, ordered, lambda: dataset()._replace(train=ordered)))
    for name in three:
        for end in ("", "_mws", "_mss", "_plain"):
            expected = pytest.approx(v[name + end], abs=10 * v[f"{name}_se"])
            assert other.values[name + end] == expected, name + end


def test_the_error_of_an_estimator_is_over_batches(monkeypatch):
    """Two halves of the training examples, one batch each, of means a and b: |a - b| / 2 by
    n - 1 = 1; of a single batch there is none."""
    from jaxvae.config import with_fields
    from jaxvae.evaluation import posterior

    of_batches, seen = posterior._of_batches, []
    monkeypatch.setattr(
        posterior, "_of_batches", lambda *args: seen.append(of_batches(*args)) or seen[-1]
    )

    trained, columns, b = linear_gaussian(2)
    whole = drawn(columns, b, 40)

    def found(size):
        own = trained._replace(
            experiment=with_fields(trained.experiment, {"data.batch_size": size})
        )
        return decomposition(Subject(own, whole, lambda: dataset()._replace(train=whole))).values

    halves, one = found(20), found(40)
    for end, estimated in zip(("mws", "mss", "plain"), seen[:3], strict=True):
        assert f"mutual_information_{end}_se" not in one
        a, b = np.asarray(estimated.mutual_information, float).mean(axis=1)
        assert halves[f"mutual_information_{end}_se"] == pytest.approx(abs(a - b) / 2)
    assert one["mutual_information_se"] > 0


def test_a_batch_of_one_class_is_none_of_training():
    """Examples that lie in order: in a batch of neighbours the posteriors would be nearly one, and
    the estimate of the mutual information that sees the batch alone nearly 0."""
    trained, columns, b = linear_gaussian(2)
    whole = drawn(columns, b, 400)
    z, _ = posteriors(trained, whole)
    ordered = whole.take(np.argsort(z[:, 1]))
    found = [
        decomposition(Subject(trained, split, lambda s=split: dataset()._replace(train=s))).values
        for split in (whole, ordered)
    ]
    plain = [v["mutual_information_plain"] for v in found]
    assert plain[1] == pytest.approx(plain[0], abs=0.1) and plain[0] > 0.5


@pytest.mark.parametrize(
    ("name", "group"),
    [pytest.param("vq_vae", bounds.nll, marks=pytest.mark.slow), ("vq_vae", units)],
)
def test_without_a_posterior_it_is_refused(name, group):
    with pytest.raises(UsageError, match=r"no (log q|posterior)"):
        group(subject(variant(name), dataset().validation))


def test_other_posteriors_have_units_but_no_decomposition():
    trained = variant("flow_vae")
    with pytest.raises(UsageError, match="no Gaussian"):
        decomposition(Subject(trained, dataset().validation, dataset))
    layers = units(subject(variant("two_layer_vae"), dataset().validation)).values
    assert {"active_z1", "active_z2"} <= {*layers}
