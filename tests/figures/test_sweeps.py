"""The figure of a study: a point per member, lines through means over seeds."""

import numpy as np
import pytest

from jaxvae.figures import sweep_curves

ROWS = [
    {"member": i, "seed": seed, "objective.beta": beta, "optimizer.learning_rate": rate}
    | {
        "loss": 9.0,
        "recon": 50 + beta + seed,
        "kl": 20 / beta + rate,
        "a.mig": 0.1 * beta,
        "mse": 1.0,
    }
    | {"a.mig_se": 0.01, "elbo.loss": 8.0 + i, "nll.num_samples": 500}
    for i, (seed, beta, rate) in enumerate(
        (seed, beta, rate) for seed in (0, 2) for beta in (4.0, 1.0) for rate in (0.1, 0.2)
    )
]
BY = ["objective.beta", "optimizer.learning_rate"]


def test_points_and_means():
    figure = sweep_curves(ROWS, BY)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["Rate and distortion", "recon", "kl", "mig", "mse", "elbo.loss"]
    rate, recon, *_ = figure.axes
    line, points, other, _ = rate.get_lines()
    # Of learning rate 0.1: beta 1 and 4, the mean of seeds 0 and 2.
    np.testing.assert_allclose(line.get_xydata(), [[20.1, 52], [5.1, 55]])
    np.testing.assert_allclose(other.get_xdata(), [20.2, 5.2])
    own = [r for r in ROWS if r[BY[1]] == 0.1]
    np.testing.assert_allclose(points.get_xydata(), [[r["kl"], r["recon"]] for r in own])
    assert [text.get_text() for text in rate.texts] == ["1", "4", "1", "4"]
    np.testing.assert_allclose(recon.get_lines()[0].get_xydata(), [[1, 52], [4, 55]])
    assert [label.get_text() for label in recon.get_xticklabels()] == ["1", "4"]
    assert recon.get_xscale() == "log" and recon.get_xlabel() == "beta"
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [
        "learning rate 0.1",
        "learning rate 0.2",
    ]


def test_without_a_kl_and_with_what_a_member_lacks():
    rows = [{"seed": i, "recon": float(i), "kl": 0.0} for i in range(3)]
    rows[1]["mig"] = 0.5
    figure = sweep_curves([*rows, {"seed": 3}], ["seed"])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["recon", "kl", "mig"]
    np.testing.assert_allclose(figure.axes[2].get_lines()[1].get_xydata(), [[1, 0.5]])
    assert not figure.legends
    with pytest.raises(ValueError, match="no member has a measure"):
        sweep_curves([{"seed": 0}], ["seed"])
