"""What the epochs so far say about a run or a member: plain numbers, kept on the host."""

from dataclasses import dataclass, field, replace

from jaxvae.config import Optimizer


@dataclass(frozen=True)
class Monitor:
    """What the epochs so far say about the validation loss; plain numbers, kept on the host.

    Two counters, because the two rules differ: a new `best` of any size is kept and delays early
    stopping, while the plateau schedule asks for a relative improvement of 1e-4 and starts over
    after it has acted, as PyTorch's ReduceLROnPlateau does.
    """

    best_loss: float = field(default=float("inf"))
    best_epoch: int = 0
    plateau_loss: float = field(default=float("inf"))
    plateau_epochs: int = 0  # without improvement by 1e-4
    lr_scale: float = 1.0

    def update(self, epoch: int, loss: float, settings: Optimizer) -> "Monitor":
        """After the validation of `epoch`; only the plateau schedule changes `lr_scale`."""
        best_loss, best_epoch = min((self.best_loss, self.best_epoch), (loss, epoch))
        # PyTorch asks for loss < best (1 - 1e-4), which for a negative best is no improvement.
        improved = self.plateau_loss == float("inf") or loss < self.plateau_loss - 1e-4 * abs(
            self.plateau_loss
        )
        plateau_loss = loss if improved else self.plateau_loss
        plateau_epochs = 0 if improved else self.plateau_epochs + 1
        lr_scale = self.lr_scale
        if settings.schedule == "plateau" and plateau_epochs > settings.patience:
            lr_scale, plateau_epochs = lr_scale * settings.decay, 0
        return Monitor(best_loss, best_epoch, plateau_loss, plateau_epochs, lr_scale)


@dataclass(frozen=True)
class Standing:
    """Where a member stands: what its losses say, and whether it counts any more."""

    monitor: Monitor = field(default_factory=Monitor)
    failed_epoch: int | None = None  # the first that was not finite

    def update(self, row: dict[str, float], settings: Optimizer) -> "Standing":
        """After an epoch's row; nothing counts any more after one that is not finite."""
        epoch = int(row["epoch"])
        if self.failed_epoch is not None:
            return self
        if not row["finite"]:
            return replace(self, failed_epoch=epoch)
        return replace(self, monitor=self.monitor.update(epoch, row["val_loss"], settings))

    def improved(self, epoch: int) -> bool:
        """Whether `epoch`, the last one, is the best."""
        return self.failed_epoch is None and self.monitor.best_epoch == epoch

    def is_stale(self, epoch: int, patience: int | None) -> bool:
        """Whether early stopping would have stopped the member before `epoch`."""
        stopped = patience is not None and epoch - 1 - self.monitor.best_epoch >= patience
        return stopped or self.failed_epoch is not None
