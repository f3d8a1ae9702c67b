"""Augmentation on the device, inside the training step: crops, flip, colours.

Every image draws from a key of its own, so a row depends neither on the others nor on
how the batch is spread over devices. LFF's networks are pre-trained with all three and
fine-tuned without the jitter, which would hide what is background.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import dm_pix as pix
import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood._utils import unknown_name

Augment = Callable[[jax.Array, jax.Array], jax.Array]  # (key, images) -> images


class Jitter(NamedTuple):
    """How colours are changed, and how often; LFF's paper (Sec. V-A) says neither.

    Attributes:
      brightness, contrast, saturation: Strength s >= 0: a factor in [1 - s, 1 + s].
      hue: Largest turn, a fraction of the circle in [0, 0.5].
      probability: Share of the images that are changed at all, in [0, 1].
    """

    # Contrastive learning's usual ones, of which 0.8 of the images are changed there.
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    probability: float = 1.0


_JITTER = Jitter()


def random_crop(key: jax.Array, image: jax.Array, size: int) -> jax.Array:
    """A random square of `size` pixels out of one image uint8 [H, W, C].

    An image of that very size is first padded with zeros by an eighth on every side: 4
    pixels for CIFAR. A smaller one raises ValueError.
    """
    shape = image.shape[:2]
    if min(shape) < size:
        raise ValueError(f"images of {shape} pixels cannot be cropped to {size}.")
    if shape == (size, size):
        pad = (size // 8, size // 8)
        image = jnp.pad(image, (pad, pad, (0, 0)))
    return pix.random_crop(key, image, (size, size, image.shape[-1]))


def resized_crop(key: jax.Array, image: jax.Array, size: int) -> jax.Array:
    """A random rectangle of one image uint8 [H, W, C], resized to `size` pixels.

    Its area is 0.2 to 1 of the image's, its sides' ratio 3/4 to 4/3, as contrastive
    learning crops; a rectangle that sticks out is cut to the image.
    """
    height, width = image.shape[:2]
    keys = jax.random.split(key, 4)
    area = jax.random.uniform(keys[0], (), minval=0.2, maxval=1.0)
    spread = jnp.log(4 / 3)
    ratio = jnp.exp(jax.random.uniform(keys[1], (), minval=-spread, maxval=spread))
    whole = jnp.sqrt(area * height * width)
    h = jnp.minimum(whole / jnp.sqrt(ratio), height)
    w = jnp.minimum(whole * jnp.sqrt(ratio), width)
    top = jax.random.uniform(keys[2]) * (height - h)
    left = jax.random.uniform(keys[3]) * (width - w)
    scale = jnp.stack([size / h, size / w])
    changed = jax.image.scale_and_translate(
        image.astype(jnp.float32),
        (size, size, image.shape[-1]),
        (0, 1),
        scale,
        -scale * jnp.stack([top, left]),
        method="linear",
    )
    return jnp.round(jnp.clip(changed, 0, 255)).astype(jnp.uint8)


def random_grey(key: jax.Array, image: jax.Array) -> jax.Array:
    """One image uint8 [H, W, 3] without colours, with probability 0.2."""
    if image.shape[-1] != 3:  # nothing to take away
        return image
    plain = jnp.broadcast_to(grey(image.astype(jnp.float32)), image.shape)
    drawn = jax.random.bernoulli(key, 0.2)
    return jnp.where(drawn, jnp.round(plain).astype(jnp.uint8), image)


def blend(image: jax.Array, other: jax.Array, factor: jax.Array) -> jax.Array:
    """clip(factor · x + (1 - factor) · other), of images in [0, 1]."""
    return jnp.clip(factor * image + (1 - factor) * other, 0.0, 1.0)


def grey(image: jax.Array) -> jax.Array:
    """The luma of one image [H, W, 3] in [0, 1], [H, W, 1] (ITU-R 601, as Pillow).

    A sum, no matrix product: on one, XLA's compiler for GPUs crashed (JAX 0.11.2).
    """
    weights = jnp.asarray([0.299, 0.587, 0.114], image.dtype).reshape(1, 1, 3)
    return (image * weights).sum(-1, keepdims=True)


def shift_hue(image: jax.Array, turn: jax.Array) -> jax.Array:
    """Turns the hue of one image [H, W, 3] in [0, 1] by a fraction of the circle."""
    hsv = pix.rgb_to_hsv(image)
    return pix.hsv_to_rgb(hsv.at[..., 0].set((hsv[..., 0] + turn) % 1.0))


def colour_jitter(
    key: jax.Array, image: jax.Array, jitter: Jitter = _JITTER
) -> jax.Array:
    """Changes brightness, contrast, saturation and hue of one image uint8 [H, W, 3].

    The first three blend with black, the mean grey and the image in grey, by a factor
    in [1 - s, 1 + s], or [0, 1 + s] if s > 1. As torchvision's ColorJitter, but always
    in this order.

    Raises:
      ValueError: The image has no colours.
    """
    if image.shape[-1] != 3:
        raise ValueError(
            "the augmentation 'jitter' changes colours, but the images have "
            f"{image.shape[-1]} channel(s): leave it out."
        )
    bright, contrast, saturation, hue = (
        jax.random.uniform(k, (), minval=max(0.0, 1 - s), maxval=1 + s)
        for k, s in zip(jax.random.split(key, 4), jitter[:4], strict=True)
    )
    x = image.astype(jnp.float32) / 255.0
    x = blend(x, jnp.zeros_like(x), bright)
    x = blend(x, jnp.full_like(x, grey(x).mean()), contrast)
    x = blend(x, jnp.broadcast_to(grey(x), x.shape), saturation)
    x = shift_hue(x, hue - 1.0)
    changed = jnp.round(255.0 * x).astype(jnp.uint8)
    if jitter.probability == 1:
        return changed
    drawn = jax.random.bernoulli(jax.random.fold_in(key, 4), jitter.probability)
    return jnp.where(drawn, changed, image)


# (key, image, side of a crop, jitter) -> image
_STEPS: dict[str, Callable[[jax.Array, jax.Array, int, Jitter], jax.Array]] = {
    "crop": lambda key, image, size, _: random_crop(key, image, size),
    "flip": lambda key, image, *_: pix.random_flip_left_right(key, image),
    "jitter": lambda key, image, _, jitter: colour_jitter(key, image, jitter),
    "resized_crop": lambda key, image, size, _: resized_crop(key, image, size),
    "grey": lambda key, image, *_: random_grey(key, image),
}
NAMES = tuple(_STEPS)


def build(names: Sequence[str], size: int, jitter: Jitter = _JITTER) -> Augment:
    """Returns (key, images uint8 [B, H, W, 3]) -> augmented ones.

    Args:
      names: Some of `NAMES`, in their order.
      size: Side of the square that 'crop' cuts, in pixels.
      jitter: Strengths and probability of 'jitter'.
    """
    arguments.check_count("size", size)
    check(names)

    def one(key: jax.Array, image: jax.Array) -> jax.Array:
        for number, name in enumerate(names):
            one_key = jax.random.fold_in(key, number)
            image = _STEPS[name](one_key, image, size, jitter)
        return image

    return lambda key, images: jax.vmap(one)(jax.random.split(key, len(images)), images)


def crops(names: Sequence[str]) -> bool:
    """Whether images may come larger than the network takes them: a part is cut out."""
    return not {"crop", "resized_crop"}.isdisjoint(names)


def are_strengths(values: Sequence[float]) -> bool:
    """Whether these are the strengths of a `Jitter`, without its probability."""
    return len(values) == 4 and min(values) >= 0 and values[-1] <= 0.5


def check(names: Sequence[str]) -> None:
    """Raises ValueError if a name is none of `NAMES`, or there twice."""
    if unknown := [name for name in names if name not in _STEPS]:
        raise unknown_name.unknown("augmentation", unknown[0], _STEPS)
    if len(set(names)) < len(names):
        raise ValueError(f"augmentations must differ, got {', '.join(names)}.")
