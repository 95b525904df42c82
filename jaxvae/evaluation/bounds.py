"""The evidence and bounds on it, of each example, in nats."""

import numpy as np

from jaxvae.evaluation import score
from jaxvae.evaluation.subject import Findings, Subject, mean_of


def elbo(subject: Subject) -> Findings:
    """The objective's terms and the ELBO at weight 1, at a sample of the posterior and at its mean.

    `elbo` = -(recon + kl), whatever weight the KL had in training. At the mean it is no bound.
    """
    trained, split = subject.trained, subject.split
    sampled, at_mean = (score.terms(trained, split, draws) for draws in (True, False))
    values: dict[str, float] = {}
    for name, row in sampled.rows.items():
        values |= mean_of(name, row)
    for name, mean in sampled.across.items():
        values[f"{name}_over_full_batches"] = mean
    notes = []
    if np.any(sampled.rows.get("kl", 0)):
        values |= mean_of("elbo", -(sampled.rows["recon"] + sampled.rows["kl"]))
        values |= mean_of("elbo_at_mean", -(at_mean.rows["recon"] + at_mean.rows["kl"]))
        notes.append("elbo_at_mean decodes the posterior mean: it is no bound on log p(x)")
    values |= mean_of("recon_at_mean", at_mean.rows["recon"])
    values |= mean_of("mse_at_mean", at_mean.rows["mse"])
    return Findings(values, tuple(notes))
