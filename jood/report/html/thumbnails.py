"""Pictures of a page's cards: images and heatmaps as addresses that hold them.

A card shows them small; a click opens them at the size that they have here.
"""

import io

from matplotlib import colormaps
import numpy as np
from PIL import Image

from jood.report.html import page

SIDE = 384  # pixels; page.css shows them at 96 and, opened, at up to 416
_SMALL = 96  # pixels of images that are enlarged to squares that one can see


def of_image(image: np.ndarray) -> str:
    """Returns an image, uint8 [H, W, 3 or 1], as an address.

    Small images are enlarged with sharp pixels, large ones are reduced.
    """
    picture = Image.fromarray(image.squeeze())
    if max(picture.size) <= _SMALL:
        factor = SIDE // max(picture.size)
        size = (picture.width * factor, picture.height * factor)
        return _encoded(picture.resize(size, Image.Resampling.NEAREST), "png")
    picture.thumbnail((SIDE, SIDE))
    return _encoded(picture.convert("RGB"), "jpeg")


def of_map(heatmap: np.ndarray, top: float) -> str:
    """Returns a heatmap, floating [h, w], as an address; colours go from 0 to `top`."""
    picture = Image.fromarray(heatmap.astype(np.float32))
    smooth = picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    shares = np.clip(np.asarray(smooth) / max(top, 1e-12), 0, 1)
    colours = colormaps["inferno"](shares, bytes=True)[..., :3]
    return _encoded(Image.fromarray(colours), "jpeg")


def _encoded(picture: Image.Image, kind: str) -> str:
    stream = io.BytesIO()
    picture.save(stream, kind, **({"quality": 85} if kind == "jpeg" else {}))
    return page.embedded(stream.getvalue(), kind)
