"""An autoencoder as an estimator of scikit-learn: fit, transform, inverse_transform, score_samples.

For rows of numbers, in pipelines and searches. Everything else is in `jaxvae.train`.
"""

from typing import Any, Literal

import jax
import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data

from jaxvae.config import Data, Experiment, Model, Objective, Optimizer, Train
from jaxvae.run import train


class Autoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A dense VAE or AE of rows (n, features).

    Features are standardised, and come back in their own units. All rows train; of the epochs the
    one with the lowest loss on them is kept.

    Args:
        latent_dim: the number of latents.
        hidden_dims: widths of the encoder's hidden layers; the decoder's are mirrored.
        family: VAE, or AE, whose `score_samples` is the reconstruction alone.
        likelihood: gaussian or laplace, both of fixed width 1 for a standardised feature, or
            gaussian_learned, whose one width is learned.
        beta: the KL's weight while training.
        epochs: passes over the rows.
        batch_size: rows per step, at most as many as there are.
        learning_rate: Adam's.
        random_state: seed of initialisation, order and noise.
    """

    def __init__(
        self,
        latent_dim: int = 2,
        *,
        hidden_dims: tuple[int, ...] = (64,),
        family: Literal["VAE", "AE"] = "VAE",
        likelihood: Literal["gaussian", "gaussian_learned", "laplace"] = "gaussian_learned",
        beta: float = 1.0,
        epochs: int = 100,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.latent_dim = latent_dim
        self.hidden_dims = hidden_dims
        self.family = family
        self.likelihood = likelihood
        self.beta = beta
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]  # codes are float32, whatever the rows
        return tags

    def fit(self, X: ArrayLike, y: Any = None) -> "Autoencoder":
        """Train on rows X, (n, features); y is not used."""
        x = validate_data(self, X, dtype=np.float32, ensure_min_samples=2)
        experiment = Experiment(
            "autoencoder",
            seed=int(check_random_state(self.random_state).randint(2**31 - 1)),
            data=Data(
                {"train_values": x, "val_values": x}, batch_size=min(self.batch_size, len(x))
            ),
            model=Model(
                family=self.family,
                hidden_dims=tuple(self.hidden_dims),
                latent_dim=self.latent_dim,
                output="linear",
            ),
            objective=Objective(self.likelihood, beta=self.beta),
            optimizer=Optimizer("adam", self.learning_rate),
            train=Train(epochs=self.epochs, figures_every=None),
        )
        run = train(experiment, quiet=True)
        if run.summary["status"].startswith("interrupted"):
            raise KeyboardInterrupt  # not fitted; at a prompt `train` returns what there is
        # In memory alone, so that it can be pickled: the run's folder goes with `run`.
        trained = run.trained
        self.trained_ = trained._replace(variables=jax.device_get(trained.variables))
        self.history_ = run.history
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Codes (n, latents): posterior means."""
        from jaxvae.evaluation import embed, prepare

        rows = self._rows(X)
        return embed(self.trained_, prepare(self.trained_, rows))

    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """Rows (n, features) from codes (n, latents): the mean of p(x|z)."""
        from jaxvae.evaluation import decode

        check_is_fitted(self)
        return decode(self.trained_, np.asarray(X, np.float32))

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """log p(x|z) - KL(q(z|x) || p(z)) at z the posterior's mean, (n,), in nats, of standardised
        rows: the larger, the more like what was trained on. At a sample of z it would be the ELBO,
        but then differ from call to call."""
        from jaxvae.data import Split
        from jaxvae.evaluation import as_stored
        from jaxvae.evaluation.score import terms

        rows_given = self._rows(X)
        split = as_stored(self.trained_, Split(rows_given, None))
        rows = terms(self.trained_, split, sampled=False).rows
        score: np.ndarray = -(rows["recon"] + rows["kl"])
        return score

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """The mean of `score_samples`."""
        return float(self.score_samples(X).mean())

    @property
    def _n_features_out(self) -> int:  # for get_feature_names_out, and with it set_output
        return self.latent_dim

    def _rows(self, X: ArrayLike) -> np.ndarray:
        check_is_fitted(self)
        rows: np.ndarray = validate_data(self, X, dtype=np.float32, reset=False)
        return rows
