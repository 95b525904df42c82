"""What is known of a group before there is a model: whether data and settings allow it."""

from collections.abc import Sequence

from jaxvae.checks import UsageError
from jaxvae.data import Dataset, Split
from jaxvae.evaluation.anomaly import by_label
from jaxvae.evaluation.factors import varying
from jaxvae.evaluation.subject import Measuring
from jaxvae.evaluation.views import labelled


def refuse(metrics: Sequence[str], dataset: Dataset, split: Split, settings: Measuring) -> None:
    """Refuse what no model could be measured by, as the groups themselves would after training.

    Args:
        metrics: names of groups.
        dataset: the run's data.
        split: its examples that are to be measured.
        settings: how.

    Raises:
        UsageError: there are no labels, or factors, that a group needs, or nothing that says what
            is anomalous.
    """
    for name in metrics:
        try:
            if name == "anomaly":
                by_label(split, settings)
            elif name in ("disentanglement", "dci"):
                varying(split)
            elif name in ("probes", "clusters"):
                labelled(split, "images")
                if name == "probes":
                    labelled(dataset.train, "training examples")
        except UsageError as error:
            raise UsageError(f"--metrics {name}: {error}") from error
