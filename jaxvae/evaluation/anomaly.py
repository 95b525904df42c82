"""Group anomaly: which score tells the examples that the model should not know."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from jaxvae import config
from jaxvae.checks import UsageError
from jaxvae.data import Split
from jaxvae.evaluation import importance, score
from jaxvae.evaluation.active import has_posterior
from jaxvae.evaluation.regret import DRAWS, STEPS, likelihood_regret
from jaxvae.evaluation.subject import Findings, Measuring, Subject
from jaxvae.evaluation.trained import Trained, as_stored, batches, has_gaussian
from jaxvae.evaluation.views import sees_labels
from jaxvae.metrics.ranking import auroc, average_precision

Rows = dict[str, np.ndarray]


def anomaly(subject: Subject) -> Findings:
    """AUROC and average precision of scores that are high for what the model does not expect.

    Anomalous are the examples whose label is none of `--normal`, and those of `--anomalies`.

    Raises:
        UsageError: neither is given, or all examples are of one kind.
    """
    trained, settings = subject.trained, subject.settings
    notes: list[str] = []
    truth, others = by_label(subject.split, settings), None
    if settings.anomalies is not None:
        reading = trained.experiment.data
        others, named = read_others(
            reading, settings.anomalies, subject.held_out, lambda x: as_stored(trained, x)
        )
        notes.append(f"{named}; rows per image are those of the split alone")
    refuse_one_kind(truth, others)

    rows = scores(trained, subject.split, settings)
    truth, every = truth[: len(rows["recon"])], rows  # all, but for terms of the whole batch
    anomalous = truth
    if others is not None:
        more = scores(trained, others, settings)
        every = {name: np.concatenate([row, more[name]]) for name, row in rows.items()}
        truth = np.concatenate([truth, np.ones(len(more["recon"]), np.int8)])
    given = len(subject.split.images) + (0 if others is None else len(others.images))
    if cut := given - len(truth):
        notes.append(f"without {cut:,} images that fill no batch: a term is of whole batches")
    entropy = every["recon"] - every.get("recon_minus_entropy", every["recon"])
    if not entropy.any():  # every pixel is 0 or 1
        rows.pop("recon_minus_entropy", None)
    for name in [*rows]:
        if bad := int(np.isnan(every[name]).sum()):
            notes.append(f"without {name}: not a number for {bad:,} images")
            del rows[name]
    known = truth >= 0
    judged = truth[known] == 1

    values: dict[str, float] = {"anomalous": float(judged.mean())}
    for name in rows:
        area, error = auroc(every[name][known], judged)
        values |= {f"auroc_{name}": area} | ({} if error is None else {f"auroc_{name}_se": error})
    for name in rows:
        values[f"average_precision_{name}"] = average_precision(every[name][known], judged)
    if not known.all():
        notes.append(f"without {int((~known).sum()):,} images that have no label")
    notes.append("average precision of a score that says nothing: the share that is anomalous")
    if entropy.any():
        normal, other = (entropy[known][judged == kind].mean() for kind in (False, True))
        notes.append(
            "the likelihood is Bernoulli on grey pixels, so recon and elbo contain the images' own"
            f" entropy, {normal:.4g} nats of normal ones and {other:.4g} of others: simpler images"
            " look expected although the model never saw any (Fashion-MNIST against MNIST;"
            " docs/evaluation.md)"
        )
    if "likelihood_regret" in rows:
        notes.append(f"likelihood_regret: {STEPS} steps for each image's own q, {DRAWS} draws")
    if sees_labels(trained):
        notes.append("the model is given each image's label")
    own = {f"score_{name}": row for name, row in rows.items()}
    return Findings(values, tuple(notes), {"anomalous": anomalous, **own})


def refuse_one_kind(truth: np.ndarray, others: Split | None) -> None:
    """Raise a UsageError where all examples are normal, or all anomalous (`by_label`)."""
    known = truth[truth >= 0]
    if known.all() or (others is None and not known.any()):
        kind = "anomalous" if known.all() else "normal"
        given = "the one image is" if len(known) == 1 else f"all {len(known):,} images are"
        raise UsageError(f"{given} {kind}: nothing to tell apart")


def scores(trained: Trained, split: Split, settings: Measuring) -> Rows:
    """What stands for how little the model expects each example, (n,) each, in nats but for mse.

    recon at a sample of the posterior and at its mean; kl and the negative ELBO where there is a
    posterior; -log p(x) as a bound of K draws has it; the squared error; recon above the entropy
    of grey images, which no decoder can be below; likelihood regret where q is Gaussian.
    """
    sampled, at_mean = (score.terms(trained, split, draws).rows for draws in (True, False))
    if "recon" not in sampled:
        raise UsageError("recon of an example depends on the others of its batch: it is no score")
    n = len(sampled["recon"])
    rows: Rows = {"recon": sampled["recon"]}
    if has_posterior(trained):
        rows["negative_elbo"] = sampled["recon"] + sampled["kl"]
        rows["kl"] = sampled["kl"]
    rows |= {"recon_at_mean": at_mean["recon"], "mse_at_mean": at_mean["mse"]}
    if (entropy := entropies(trained, split)) is not None:
        rows["recon_minus_entropy"] = rows["recon"] - entropy[:n]
    if importance.log_weights_exist(trained):
        rows["negative_bound"] = importance.nll(trained, split, settings.num_samples)[0][:n]
    if has_gaussian(trained):
        rows["likelihood_regret"] = likelihood_regret(trained, split, settings.seed)[:n]
    return rows


def entropies(trained: Trained, split: Split) -> np.ndarray | None:
    """The least that Bernoulli's recon can be of each example, (n,), in nats.

    Of pixels x that is sum -x log x - (1 - x) log(1 - x). None with another likelihood, and where
    images are binarized, of which it is 0.
    """
    experiment = trained.experiment
    if experiment.objective.likelihood != "bernoulli" or experiment.data.binarize != "none":
        return None
    parts = []
    for batch, _ in batches(trained, split):
        x = np.asarray(batch.target, np.float64).reshape(len(batch.target), -1)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = x * np.log(x) + (1 - x) * np.log1p(-x)
        observed = True if batch.observed is None else batch.observed.reshape(x.shape)
        inside = (x > 0) & (x < 1) & observed
        parts.append(-np.where(inside, terms, 0.0).sum(axis=1))
    return np.concatenate(parts)


def by_label(split: Split, settings: Measuring) -> np.ndarray:
    """1 of the anomalous examples, 0 of normal ones, -1 where the label is not known: int8 (n,).

    Raises:
        UsageError: nothing says what is anomalous, or a normal label is that of no example.
    """
    normal, labels = settings.normal, split.every_label
    if not normal and settings.anomalies is None:
        raise UsageError(
            "must know what is anomalous: give --normal CLASS... or --anomalies SOURCE"
        )
    if not normal:
        return np.zeros(len(labels), np.int8)
    if absent := sorted({*normal} - {*labels.tolist()}):
        there = ", ".join(map(str, np.unique(labels[labels >= 0])))
        allowed = f"must be labels of the images: {there}" if there else "the images have no labels"
        raise UsageError(f"--normal = {absent[0]}: {allowed}")
    return np.where(labels < 0, -1, ~np.isin(labels, normal)).astype(np.int8)


def read_others(
    own: config.Data,
    source: str,
    held_out: Callable[[config.Data], tuple[Split, str]],
    stored: Callable[[Split], Split],
) -> tuple[Split, str]:
    """The examples of another source that are anomalous, and what they are called.

    Args:
        own: how the run's data are read.
        source: the other one.
        held_out: as of a `Subject`.
        stored: brings them to the form of the run's.

    Raises:
        UsageError: there is no such source, or its examples are not as the run's.
    """
    settings = replace(own, source=source, batch_size=1, streaming=False, limit=None)
    try:
        split, which = held_out(settings)
        split = stored(split)
    except (UsageError, FileNotFoundError) as error:
        says = str(error).removeprefix(f"data.source = {settings.source!r}: ")
        raise UsageError(f"--anomalies = {settings.source!r}: {says}") from error
    return split, f"anomalous: {len(split.images):,} {which} of {settings.source}"
