"""Which sets are rendered, for lists of them, which do without JAX; `sprites` renders them."""

SIZES = {"sprites": 64, "sprites/32": 32}
"""Height and width in pixels, by `data.source`."""
COUNTS = {"train": 40_000, "test": 10_000}
"""Images of each split: different points of the grid of 737,280, drawn once and for all."""
