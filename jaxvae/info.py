"""What is known about the data before any of them is read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Info:
    """Shapes and numbers that a model may be built from; plain Python numbers."""

    shape: tuple[int, ...]
    """Of an example as the model sees it: (height, width, channels) of an image, (features,) of a
    row, (length, channels) of a signal."""
    num_classes: int = 0
    """Labels are 0..num_classes - 1, and -1 where there is none; 0: no example has one."""
    num_examples: int = 0
    """To train on."""
    num_labelled: int = 0
    """Training examples whose label is known."""
    missing: bool = False
    """Whether some values were not observed."""
    maximum: int | None = 255
    """What a stored pixel is at most, which the model sees as 1; None: of what is no image."""
    columns: tuple[str, ...] = ()
    """Names of the features of a row, where they are known."""
    center: tuple[float, ...] = ()
    """What is subtracted from values that are no images, per feature of a row or channel of a
    signal; empty: nothing."""
    scale: tuple[float, ...] = ()
    """What they are then divided by."""
