"""Images of one aspect brought to a size of another: what is cropped, or where there is room.

Sizes are (height, width). Pixels are measured from the image's edge, so the middle is exact.
"""

Size = tuple[int, int]
BACKGROUNDS = {"white": 255, "black": 0}


def cropped(image: Size, size: Size) -> tuple[float, float, float, float]:
    """Top, left, height and width of the largest part in the middle that has the aspect of `size`;
    in pixels of the image, not in whole ones."""
    scale = min(image[0] / size[0], image[1] / size[1])
    height, width = size[0] * scale, size[1] * scale
    return (image[0] - height) / 2, (image[1] - width) / 2, height, width


def within(image: Size, size: Size) -> Size:
    """The largest size within `size` that has the image's aspect, but for rounding."""
    scale = min(size[0] / image[0], size[1] / image[1])
    height, width = (
        max(1, min(most, round(n * scale))) for n, most in zip(image, size, strict=True)
    )
    return height, width


def corner(inner: Size, size: Size) -> Size:
    """Top and left of a smaller image in the middle of a larger one."""
    return round((size[0] - inner[0]) / 2), round((size[1] - inner[1]) / 2)
