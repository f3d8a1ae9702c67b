"""Small pictures for a page: images and heatmaps as addresses that hold them."""

import io

from matplotlib import colormaps
import numpy as np
from PIL import Image

from jood.report.html import page

SIDE = 96  # CSS pixels of a thumbnail; photographs get twice as many


def of_image(image: np.ndarray) -> str:
    """Returns an image, uint8 [H, W, 3 or 1], as an address.

    Small images are enlarged with sharp pixels, large ones are reduced.
    """
    picture = Image.fromarray(image.squeeze())
    if max(picture.size) < SIDE:
        factor = SIDE // max(picture.size)
        size = (picture.width * factor, picture.height * factor)
        return _encoded(picture.resize(size, Image.Resampling.NEAREST), "png")
    picture.thumbnail((2 * SIDE, 2 * SIDE))
    return _encoded(picture.convert("RGB"), "jpeg")


def of_map(heatmap: np.ndarray, top: float) -> str:
    """Returns a heatmap, floating [h, w], as an address; colours go from 0 to `top`."""
    picture = Image.fromarray(heatmap.astype(np.float32))
    smooth = picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    shares = np.clip(np.asarray(smooth) / max(top, 1e-12), 0, 1)
    colours = colormaps["inferno"](shares, bytes=True)[..., :3]
    return _encoded(Image.fromarray(colours), "png")


def _encoded(picture: Image.Image, kind: str) -> str:
    stream = io.BytesIO()
    picture.save(stream, kind, **({"quality": 85} if kind == "jpeg" else {}))
    return page.embedded(stream.getvalue(), kind)
