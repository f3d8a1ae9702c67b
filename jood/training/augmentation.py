"""Augmentation on the device, inside the training step: crop, flip, colour jitter.

    augment = augmentation.build(("crop", "flip", "jitter"), size=32)
    images = augment(key, images)                  # uint8 [B, H, W, 3] -> the same

Every image draws from a key of its own, so what happens to a row depends neither on
the other rows nor on how the batch is spread over devices. LFF's networks are
pre-trained with all three and fine-tuned without the jitter, which would hide what is
background.
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

    An image of that very size is padded with zeros first, by an eighth of it on every
    side: 4 pixels for CIFAR.

    Raises:
      ValueError: the image is smaller.
    """
    if min(image.shape[:2]) < size:
        raise ValueError(
            f"images of {image.shape[:2]} pixels cannot be cropped to {size}."
        )
    if image.shape[:2] == (size, size):
        pad = size // 8
        image = jnp.pad(image, ((pad, pad), (pad, pad), (0, 0)))
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

    The first three blend with black, with the mean grey and with the image in grey, by
    a factor in [1 - s, 1 + s]; the hue turns by up to HUE of the circle either way.
    As torchvision's ColorJitter, but always in this order.
    """
    keys = jax.random.split(key, 4)

    def factor(index: int, strength: float) -> jax.Array:
        return jax.random.uniform(
            keys[index], (), minval=1 - strength, maxval=1 + strength
        )

    x = image.astype(jnp.float32) / 255.0
    x = blend(x, jnp.zeros_like(x), factor(0, BRIGHTNESS))
    x = blend(x, jnp.full_like(x, grey(x).mean()), factor(1, CONTRAST))
    x = blend(x, jnp.broadcast_to(grey(x), x.shape), factor(2, SATURATION))
    x = shift_hue(x, factor(3, HUE) - 1.0)
    return jnp.round(255.0 * x).astype(jnp.uint8)


_STEPS: dict[str, Callable[[jax.Array, jax.Array, int], jax.Array]] = {
    "crop": random_crop,
    "flip": lambda key, image, _: pix.random_flip_left_right(key, image),
    "jitter": lambda key, image, _: colour_jitter(key, image),
}
NAMES = tuple(_STEPS)


def build(names: Sequence[str], size: int) -> Augment:
    """Returns the chain of augmentations of a batch.

    Args:
      names: Some of `NAMES`, in the order in which they are applied; () changes
        nothing.
      size: Side of the square images that the network takes, in pixels.

    Returns:
      (key, images uint8 [B, H, W, 3]) -> uint8 [B, size, size, 3] if 'crop' is among
      them, else of the images' own size.

    Raises:
      ValueError: an unknown name, or a size below 1.
    """
    arguments.check_count("size", size)
    check(names)

    def one(key: jax.Array, image: jax.Array) -> jax.Array:
        for number, name in enumerate(names):
            image = _STEPS[name](jax.random.fold_in(key, number), image, size)
        return image

    def augment(key: jax.Array, images: jax.Array) -> jax.Array:
        return jax.vmap(one)(jax.random.split(key, len(images)), images)

    return augment


def check(names: Sequence[str]) -> None:
    """Raises ValueError if a name is none of `NAMES`, or there twice."""
    for name in names:
        if name not in _STEPS:
            raise unknown_name.unknown("augmentation", name, _STEPS)
    if len(set(names)) < len(names):
        raise ValueError(f"augmentations must differ, got {', '.join(names)}.")
