"""Augmentation on the device, inside the training step: crop, flip, colour jitter.

Every image draws from a key of its own, so a row depends neither on the others nor on
how the batch is spread over devices. LFF's networks are pre-trained with all three and
fine-tuned without the jitter, which would hide what is background.
"""

from collections.abc import Callable, Sequence

import dm_pix as pix
import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood._utils import unknown_name

Augment = Callable[[jax.Array, jax.Array], jax.Array]  # (key, images) -> images

# The paper (LFF, Sec. V-A) names none; these are contrastive learning's usual ones.
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.4, 0.4, 0.4, 0.1


def random_crop(key: jax.Array, image: jax.Array, size: int) -> jax.Array:
    """A random square of `size` pixels out of one image uint8 [H, W, C].

    An image of that very size is first padded with zeros by an eighth on every side: 4
    pixels for CIFAR. A smaller one raises ValueError.
    """
    found = image.shape[:2]
    if min(found) < size:
        raise ValueError(f"images of {found} pixels cannot be cropped to {size}.")
    if found == (size, size):
        pad = (size // 8, size // 8)
        image = jnp.pad(image, (pad, pad, (0, 0)))
    return pix.random_crop(key, image, (size, size, image.shape[-1]))


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


def colour_jitter(key: jax.Array, image: jax.Array) -> jax.Array:
    """Changes brightness, contrast, saturation and hue of one image uint8 [H, W, 3].

    The first three blend with black, the mean grey and the image in grey, by a factor
    in [1 - s, 1 + s]; the hue turns by up to HUE of the circle. As torchvision's
    ColorJitter, but always in this order.

    Raises:
      ValueError: The image has no colours.
    """
    if image.shape[-1] != 3:
        raise ValueError(
            "the augmentation 'jitter' changes colours, but the images have "
            f"{image.shape[-1]} channel(s): leave it out."
        )
    strengths = (BRIGHTNESS, CONTRAST, SATURATION, HUE)
    bright, contrast, saturation, hue = (
        jax.random.uniform(k, (), minval=1 - strength, maxval=1 + strength)
        for k, strength in zip(jax.random.split(key, 4), strengths, strict=True)
    )
    x = image.astype(jnp.float32) / 255.0
    x = blend(x, jnp.zeros_like(x), bright)
    x = blend(x, jnp.full_like(x, grey(x).mean()), contrast)
    x = blend(x, jnp.broadcast_to(grey(x), x.shape), saturation)
    x = shift_hue(x, hue - 1.0)
    return jnp.round(255.0 * x).astype(jnp.uint8)


_STEPS: dict[str, Callable[[jax.Array, jax.Array, int], jax.Array]] = {
    "crop": random_crop,
    "flip": lambda key, image, _: pix.random_flip_left_right(key, image),
    "jitter": lambda key, image, _: colour_jitter(key, image),
}
NAMES = tuple(_STEPS)


def build(names: Sequence[str], size: int) -> Augment:
    """Returns (key, images uint8 [B, H, W, 3]) -> augmented ones.

    Args:
      names: Some of `NAMES`, in their order.
      size: Side of the square that 'crop' cuts, in pixels.
    """
    arguments.check_count("size", size)
    check(names)

    def one(key: jax.Array, image: jax.Array) -> jax.Array:
        for number, name in enumerate(names):
            image = _STEPS[name](jax.random.fold_in(key, number), image, size)
        return image

    return lambda key, images: jax.vmap(one)(jax.random.split(key, len(images)), images)


def check(names: Sequence[str]) -> None:
    """Raises ValueError if a name is none of `NAMES`, or there twice."""
    if unknown := [name for name in names if name not in _STEPS]:
        raise unknown_name.unknown("augmentation", unknown[0], _STEPS)
    if len(set(names)) < len(names):
        raise ValueError(f"augmentations must differ, got {', '.join(names)}.")
