"""A PNG of one colour."""

import io

from PIL import Image


def png(width=40, height=20):
    """Returns the bytes of a file."""
    stream = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(stream, "png")
    return stream.getvalue()
