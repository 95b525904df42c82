"""A table: 30 measurements of tumours, to embed, to score, to fill in where they are missing.

The Breast Cancer Wisconsin (Diagnostic) data of scikit-learn, 357 benign and 212 malignant tumours
(https://doi.org/10.24432/C5DW2B). Trained on 285 benign ones alone, of which one value in ten is
hidden; tested on the other 72 and all malignant ones. 30-64-32-5, ReLU, mirrored; Gaussian
likelihood with a learned variance; Adam 1e-3, batch 32, 200 epochs.

Expect: see docs/data.md, which has the commands and the numbers.
Run: jaxvae train experiments/jobs/breast_cancer.py
"""

import numpy as np
from sklearn.datasets import load_breast_cancer

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train


def table() -> dict[str, np.ndarray]:
    """Training and test rows, their diagnoses, and the names of the columns."""
    cancer = load_breast_cancer()
    rng = np.random.default_rng(0)
    diagnosis = cancer.target_names[cancer.target].astype(str)
    benign = rng.permutation(np.flatnonzero(diagnosis == "benign"))
    test = np.concatenate([benign[285:], np.flatnonzero(diagnosis == "malignant")])
    values = cancer.data.astype(np.float32)
    train = values[benign[:285]]
    train[rng.random(train.shape) < 0.1] = np.nan
    return {
        "train_values": train,
        "train_labels": diagnosis[benign[:285]],
        "test_values": values[test],
        "test_labels": diagnosis[test],
        "columns": cancer.feature_names.astype(str),
    }


experiment = Experiment(
    name="breast_cancer",
    data=Data(table(), batch_size=32),
    model=Model(hidden_dims=(64, 32), latent_dim=5, output="linear"),
    objective=Objective("gaussian_learned"),
    optimizer=Optimizer("adam", 1e-3),
    train=Train(epochs=200, figures_every=0),
)
