"""What is known of a group before there is a model: whether data and settings allow it."""

from collections.abc import Callable, Sequence

from jaxvae.checks import UsageError
from jaxvae.config import Data
from jaxvae.data import Dataset, Split
from jaxvae.evaluation.anomaly import by_label, read_others, refuse_one_kind
from jaxvae.evaluation.factors import varying
from jaxvae.evaluation.subject import Measuring
from jaxvae.evaluation.views import labelled


def refuse(
    metrics: Sequence[str],
    own: Data,
    dataset: Dataset,
    split: Split,
    settings: Measuring,
    held_out: Callable[[Data], tuple[Split, str]],
) -> None:
    """Refuse what no model could be measured by, as the groups themselves would after training.

    Args:
        metrics: names of groups.
        own: how the run's data are read.
        dataset: these data.
        split: its examples that are to be measured.
        settings: how.
        held_out: as of a `Subject`.

    Raises:
        UsageError: there are no labels, or factors, that a group needs; nothing says what is
            anomalous, or there are no such examples.
    """
    for name in metrics:
        try:
            if name == "anomaly":
                truth, others = by_label(split, settings), None
                if settings.anomalies is not None:
                    others, _ = read_others(own, settings.anomalies, held_out, lambda x: x)
                refuse_one_kind(truth, others)
            elif name in ("disentanglement", "dci"):
                varying(split)
            elif name in ("probes", "clusters"):
                labelled(split, "images")
                if name == "probes":
                    labelled(dataset.train, "training examples")
        except UsageError as error:
            raise UsageError(f"--metrics {name}: {error}") from error
