"""From the pixels of a file to what a network was trained on: one definition.

Training, evaluation and a saved detector use the same `Preprocessing`. On the host
`fit_image` brings an image of any size to the network's: torchvision's Resize and
CenterCrop, bit for bit, because both leave the arithmetic to Pillow. On the device,
in the network's own program, bytes become normalised floats.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jood._utils import arguments
from jood._utils import unknown_name

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_Box = tuple[float, float, float, float]  # left, upper, right, lower, in pixels
_MAX_PIXELS = 2**27  # of a resized image: a strip 1 pixel high would fill the memory


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Maps uint8 images [B, H, W, C] to float32 (x / 255 - mean) / std.

    Attributes:
      mean: mean per channel, in [0, 1] units.
      std: standard deviation per channel, above 0, in [0, 1] units.
      resize: length of the shorter side in pixels, the longer one in proportion; or
        (height, width); None keeps the size.
      crop: side in pixels of the centre square that is cut out after resizing, padded
        with zeros where the image is smaller; None crops nothing.
      interpolation: 'nearest', 'bilinear', 'bicubic' or 'lanczos', the last three with
        a filter as wide as the reduction (antialias).

    Example:
      >>> import numpy as np
      >>> mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
      >>> imagenet = Preprocessing(mean, std, resize=256, crop=224)
      >>> fitted = imagenet.fit_image(np.zeros((300, 500, 3), np.uint8))
      >>> fitted.shape
      (224, 224, 3)
      >>> imagenet(fitted[None]).dtype
      dtype('float32')
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int | tuple[int, int] | None = None
    crop: int | None = None
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            values = tuple(float(value) for value in getattr(self, name))
            object.__setattr__(self, name, values)
            if not np.isfinite(values).all():
                raise ValueError(f"{name} must be finite numbers, got {values}.")
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(
                "mean and std need one number per channel each, got "
                f"{self.mean} and {self.std}."
            )
        if min(self.std) <= 0:
            raise ValueError(f"std must be above 0 in every channel, got {self.std}.")
        object.__setattr__(self, "resize", _checked_resize(self.resize))
        if self.crop is not None:
            arguments.check_count("crop", self.crop)
            object.__setattr__(self, "crop", int(self.crop))
        if self.interpolation not in _FILTERS:
            raise unknown_name.unknown("interpolation", self.interpolation, _FILTERS)

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> Self:
        """Reads what `dataclasses.asdict` gave, also in files of older versions.

        Raises:
          ValueError: The file asks for a zoom on the device, which was taken out.
        """
        known = dict(content)
        if known.pop("zoom", 1.0) != 1.0:
            raise ValueError(
                "the file's preprocessing enlarges images (zoom), which jood does to "
                "the OOD images of a benchmark only, when they are read (`Magnified`)."
            )
        return cls(**known)

    @property
    def fitting(self) -> str:
        """A text that changes when the same image is fitted in another way."""
        if self.resize is self.crop is None:
            return ""
        return f"resize={self.resize}, crop={self.crop}, {self.interpolation}"

    @property
    def sizing(self) -> str:
        """What `fit_image` does to images, in words: "resized to 32 x 32 pixels"."""
        steps = []
        if isinstance(self.resize, tuple):
            height, width = self.resize
            steps.append(f"resized to {height} x {width} pixels ({self.interpolation})")
        elif self.resize is not None:
            side = f"{self.resize} pixels on the shorter side"
            steps.append(f"resized to {side} ({self.interpolation})")
        if self.crop is not None:
            steps.append(f"cropped to the central {self.crop} x {self.crop}")
        return " and ".join(steps) or "left at their size"

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Returns the (height, width) that `fit_image` gives an image of this size."""
        return self.fixed_size or self._resized(height, width)

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """(height, width) of every fitted image; None if it depends on the image."""
        if self.crop is not None:
            return self.crop, self.crop
        return self.resize if isinstance(self.resize, tuple) else None

    def fit_image(self, image: np.ndarray) -> np.ndarray:
        """Resizes and crops one image, as torchvision does with Pillow's images.

        Args:
          image: uint8 [H, W, C].

        Returns:
          uint8 [h, w, C] with (h, w) = `output_size(H, W)`; the image itself without
          `resize` and `crop`.

        Raises:
          ValueError: wrong rank or dtype, or the resized image would be huge.
        """
        if image.ndim != 3 or 0 in image.shape or image.dtype != np.uint8:
            actual = f"{image.dtype} {tuple(image.shape)}"
            raise ValueError(f"an image must be uint8 [H, W, C], got {actual}.")
        if not self.fitting:
            return image
        image = np.asarray(image)
        if image.shape[-1] == 3:
            return np.asarray(self.fit_pil(Image.fromarray(image)))
        planes = [Image.fromarray(image[..., c]) for c in range(image.shape[-1])]
        return np.stack([np.asarray(self.fit_pil(plane)) for plane in planes], axis=-1)

    def fit_pil(self, image: Image.Image) -> Image.Image:
        """Fits a Pillow image of mode 'RGB' or 'L'; see `fit_image`."""
        width, height = image.size
        resized = self._resized(height, width)
        box = self._box(height, width)
        if resized != (height, width) or box is not None:
            height, width = resized
            if height * width > _MAX_PIXELS:
                raise ValueError(
                    f"an image of {image.height} x {image.width} pixels would become "
                    f"one of {height} x {width}, more than {_MAX_PIXELS} in all. "
                    "Skip it, or resize to (height, width)."
                )
            image = image.resize((width, height), _FILTERS[self.interpolation], box)
        if self.crop is None or (height, width) == (self.crop, self.crop):
            return image
        top, left = _offset(height, self.crop), _offset(width, self.crop)
        return image.crop((left, top, left + self.crop, top + self.crop))

    def leaves(self, height: int, width: int) -> bool:
        """Whether an image of this size stays as it is."""
        return (
            self._box(height, width) is None
            and self._resized(height, width) == (height, width)
            and (self.crop is None or self.crop == height == width)
        )

    def _box(self, height: int, width: int) -> _Box | None:
        """What is kept: (left, upper, right, lower) in pixels; None keeps all."""
        del height, width
        return None

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if self.resize is None:
            return height, width
        if isinstance(self.resize, tuple):
            return self.resize
        if height <= width:
            return self.resize, int(self.resize * width / height)  # rounded down
        return int(self.resize * height / width), self.resize

    def __call__(self, images: jax.Array) -> jax.Array:
        """Normalises fitted uint8 images [B, H, W, C] to float32 of the same shape."""
        if images.ndim != 4 or images.shape[-1] != len(self.mean):
            shape = tuple(images.shape)
            raise ValueError(
                f"images must be [B, H, W, {len(self.mean)}], got shape {shape}."
            )
        if images.dtype != jnp.uint8:
            raise ValueError(
                "images must be uint8 in 0..255, which the preprocessing normalises, "
                f"got {images.dtype}. Normalised images need no preprocessing."
            )
        if self.fixed_size not in (None, images.shape[1:3]):
            raise ValueError(
                f"images must be {self.fixed_size} pixels (height, width), as "
                f"Preprocessing.fit_image makes them, got {images.shape[1:3]}."
            )
        mean, std = np.array([self.mean, self.std], np.float32)[:, None, None, None]
        return (images.astype(jnp.float32) / 255.0 - mean) / std


@dataclasses.dataclass(frozen=True)
class Magnified(Preprocessing):
    """One that shows the middle of each image, enlarged (Feature Sim, App. B.13).

    "We zoom in the OOD image w.r.t. the image center (w/2, h/2) and then resize it":
    of an image h x w the middle h / zoom x w / zoom is resized as the whole would be.
    To read the OOD sets of a benchmark with; a detector keeps the plain one.

    Attributes:
      zoom: factor >= 1.
    """

    zoom: float = 1.0

    @classmethod
    def of(cls, plain: Preprocessing, zoom: float) -> Self:
        """Returns a preprocessing that enlarges first, and else does as another."""
        fields = {f.name: getattr(plain, f.name) for f in dataclasses.fields(plain)}
        return cls(**{**fields, "zoom": zoom})

    def __post_init__(self) -> None:
        super().__post_init__()
        arguments.check_at_least("zoom", self.zoom, 1)  # 1 leaves the image as it is
        object.__setattr__(self, "zoom", float(self.zoom))

    @property
    def fitting(self) -> str:
        """A text that changes when the same image is fitted in another way."""
        plain = super().fitting
        return f"{plain}, zoom={self.zoom}" if self.zoom > 1 else plain

    def _box(self, height: int, width: int) -> _Box | None:
        if self.zoom == 1:
            return None
        kept = (1 - 1 / self.zoom) / 2
        return kept * width, kept * height, (1 - kept) * width, (1 - kept) * height


def _checked_resize(resize: Any) -> int | tuple[int, int] | None:
    """An int, a tuple (also of a list, as JSON has them) or None."""
    if resize is None:
        return None
    if not isinstance(resize, Sequence) or isinstance(resize, str):
        arguments.check_count("resize", resize)
        return int(resize)
    if len(resize) != 2:
        raise ValueError(
            f"{resize=} must be the shorter side in pixels or (height, width)."
        )
    for side in resize:
        arguments.check_count("resize", side)
    return int(resize[0]), int(resize[1])


def _offset(have: int, want: int) -> int:
    """First row or column of a centre crop; below 0 where it is padded.

    torchvision rounds halves to even where it crops and down where it pads.
    """
    return round((have - want) / 2) if have >= want else -((want - have) // 2)
