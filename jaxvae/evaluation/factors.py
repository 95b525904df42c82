"""What codes have to do with the factors that the examples were made from."""

from typing import NamedTuple

import numpy as np
import sklearn

from jaxvae.checks import UsageError
from jaxvae.data import Split
from jaxvae.evaluation.subject import Findings, Subject, share_of
from jaxvae.evaluation.trained import batches, embed
from jaxvae.metrics import disentanglement as measures
from jaxvae.metrics.shared_factors import (
    EVALUATION,
    ITERATIONS,
    beta_vae_score,
    factor_vae_score,
)


class _Told(NamedTuple):
    """names: of the factors that vary.
    codes (n, latents) and factors (n, factors), sorted, so that their order has no effect.
    train, test: two thirds of the rows, drawn at random, and the others.
    notes: what a reader has to know.
    """

    names: tuple[str, ...]
    codes: np.ndarray
    factors: np.ndarray
    train: np.ndarray
    test: np.ndarray
    notes: tuple[str, ...]


def disentanglement(subject: Subject) -> Findings:
    """MIG, SAP, modularity and the scores of FactorVAE and beta-VAE, of posterior means.

    `sap` is of accuracies, `sap_r2` of squared correlations. Without the last two scores where a
    value of a factor is that of one image, which can share it with none; their standard errors are
    of the draws that they are judged by, not of images.
    """
    names, codes, factors, train, test, notes = _told(subject)
    seed = subject.settings.seed
    information = measures.mutual_information(measures.discretised(codes), factors)
    told, converged = measures.accuracies(codes, factors, train, test, seed)
    unfinished = [] if converged else ["sap"]
    values = {
        "mig": measures.mig(codes, factors),
        "sap": measures.gap(told),
        "sap_r2": measures.gap(measures.squared_correlations(codes, factors)),
        "modularity": measures.modularity(information),
    }
    alone = [
        name
        for name, column in zip(names, factors.T, strict=True)
        if np.unique(column, return_counts=True)[1].min() < 2
    ]
    if alone:
        notes += (
            "without factor_vae_score and beta_vae_score, for which each value must be that of"
            f" several images: one image alone has a value of {', '.join(alone)}",
        )
    else:
        values |= share_of("factor_vae_score", factor_vae_score(codes, factors, seed), EVALUATION)
        score, converged = beta_vae_score(codes, factors, seed)
        values |= share_of("beta_vae_score", score, EVALUATION)
        unfinished += [] if converged else ["beta_vae_score"]
    if unfinished:
        notes += (f"not converged in {ITERATIONS} iterations: {', '.join(unfinished)}",)
    return Findings(values, notes)


def dci(subject: Subject) -> Findings:
    """Disentanglement, completeness and informativeness by gradient boosted trees: minutes."""
    _, codes, factors, train, test, notes = _told(subject)
    found = measures.importances(codes, factors, train, test, subject.settings.seed)
    values = {
        "dci_disentanglement": measures.disentanglement(found.values),
        "dci_completeness": measures.completeness(found.values),
        "dci_informativeness": found.test,
        "dci_informativeness_train": found.train,
    }
    return Findings(values, (*notes, f"trees fitted on {len(train)} codes, tried on {len(test)}"))


def varying(split: Split) -> dict[str, np.ndarray]:
    """The factors that take several values among the examples, (n,) each.

    Raises:
        UsageError: there are none, or fewer than two.
    """
    if split.factors is None:
        raise UsageError(
            "the images have no factors, integers that say what each was made from: use"
            " --data.source sprites, or give them in a .npz (docs/data.md)"
        )
    varied = {name: v for name, v in split.factors.items() if len(np.unique(v)) > 1}
    if len(varied) < 2:
        raise UsageError(f"{len(varied)} factors vary among the images: must be 2 at least")
    return varied


def _told(subject: Subject) -> _Told:
    """Codes and factors of the split.

    Raises:
        UsageError: there are no factors, or too few; codes are not finite, or of one latent.
    """
    split = subject.split
    varied = varying(split)
    parts = [np.asarray(embed(subject.trained, x)) for x, _ in batches(subject.trained, split)]
    codes = np.concatenate(parts).astype(np.float64).reshape(len(split.images), -1)
    factors = np.stack([*varied.values()], axis=1)
    if codes.shape[1] < 2:
        raise UsageError("codes of one latent: a gap between latents needs 2 at least")
    if not np.isfinite(codes).all():
        raise UsageError("codes are not finite")
    order = np.lexsort((*codes.T, *factors.T))
    codes, factors = codes[order], factors[order]
    drawn = np.random.default_rng(subject.settings.seed).permutation(len(codes))
    train, test = np.split(drawn, [round(2 / 3 * len(codes))])
    if not len(test) or any(len(np.unique(column)) < 2 for column in factors[train].T):
        raise UsageError(f"{len(codes)} images are too few to fit classifiers of factors on")
    constant = [name for name in split.factors or () if name not in varied]
    notes = [
        f"factors {', '.join(varied)}, of posterior means of {len(codes)} images;"
        f" scikit-learn {sklearn.__version__}"
    ]
    if constant:
        notes.append(f"left out, since they do not vary: {', '.join(constant)}")
    return _Told((*varied,), codes, factors, train, test, tuple(notes))
