"""MixOE: images between ID and outliers, with labels between a class and none.

Outliers alone teach what is far from the classes; mixtures teach that confidence falls
on the way there.
"""

from typing import Any, Literal, get_args

import chex
import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core import component
from jood.training.forward import TrainingPass
from jood.training.objectives.cross_entropy import softmax_cross_entropy
from jood.training.objectives.objective import Augmented
from jood.training.objectives.objective import Objective
from jood.training.objectives.objective import Part

Mix = Literal["cutmix", "mixup"]


def cut_box(centre: jax.Array, lam: jax.Array, size: tuple[int, int]) -> jax.Array:
    """The box [top, bottom, left, right) around a pixel, int32 [4], clipped.

    Its sides are int(H √(1 - λ)) and int(W √(1 - λ)).

    Args:
      centre: Row and column, int32 [2].
      lam: λ in [0, 1].
      size: (H, W), in pixels.
    """
    sides = jnp.asarray(size)
    half = (sides * jnp.sqrt(1 - lam)).astype(jnp.int32) // 2
    low, high = (jnp.clip(centre + sign * half, 0, sides) for sign in (-1, 1))
    return jnp.stack([low[0], high[0], low[1], high[1]])


def cut_mix(
    images: jax.Array, outliers: jax.Array, box: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """ID images with a box of the outliers in them, and the share λ that stays ID.

    The kept pixels carry no gradient, as in the published code.

    Args:
      images: ID images, floating [B, H, W, C].
      outliers: Others of this shape.
      box: Box that `cut_box` returns.
    """
    chex.assert_equal_shape([images, outliers])
    height, width = images.shape[1:3]
    rows, columns = jnp.arange(height), jnp.arange(width)
    top, bottom, left, right = box
    in_rows = (rows >= top) & (rows < bottom)
    in_columns = (columns >= left) & (columns < right)
    inside = (in_rows[:, None] & in_columns[None])[None, :, :, None]
    mixed = jnp.where(inside, outliers, jax.lax.stop_gradient(images))
    area = ((bottom - top) * (right - left)).astype(jnp.float32)
    return mixed, 1 - area / (height * width)


def mix_up(images: jax.Array, outliers: jax.Array, lam: jax.Array) -> jax.Array:
    """λ x + (1 - λ) o, of ID images and outliers [B, H, W, C]."""
    chex.assert_equal_shape([images, outliers])
    return (lam * images + (1 - lam) * outliers).astype(images.dtype)


def soft_labels(labels: jax.Array, lam: jax.Array, classes: int) -> jax.Array:
    """Q = λ · onehot(y) + (1 - λ) / K, float32 [B, K].

    Args:
      labels: y, int32 [B].
      lam: λ, the share of the ID image.
      classes: K.
    """
    return lam * jax.nn.one_hot(labels, classes) + (1 - lam) / classes


def soft_cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Mean over the batch of -Σ_k q_k log softmax(f)_k, float32 [].

    Args:
      logits: f, float32 [B, K].
      targets: q, float32 [B, K].
    """
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    return -(targets * log_p).sum(-1).mean()


def mixoe(
    lam: float = 1.0, alpha: float = 1.0, beta: float = 1.0, mix: Mix = "cutmix"
) -> Objective:
    """L = CE(f(x), y) + λ · CE(f(x̃), q), x̃ between x and an outlier; scored with MSP.

    One share, drawn from Beta(α, β), for the whole batch; ID images and mixtures share
    one pass. Needs as many outliers as ID images in a step.

    Args:
      lam: λ >= 0; the authors' is 1.
      alpha: α > 0. The authors draw from Beta(1, 1), OpenOOD from Beta(0.1, 1), since
        it takes the authors' weight of the loss for the second parameter.
      beta: β > 0.
      mix: Whether a box is pasted ('cutmix') or pixels are averaged ('mixup').

    References:
      Zhang, Inkawhich, Linderman, Chen, Li, MixOE (Mixture Outlier Exposure), WACV
      2023, Eq. 3-5.
    """
    arguments.check_at_least("lam", lam, 0)
    arguments.check_positive("alpha", alpha)
    arguments.check_positive("beta", beta)
    if mix not in get_args(Mix):
        known = " or ".join(map(repr, get_args(Mix)))
        raise ValueError(f"mix must be {known}, got {mix!r}.")
    lam, alpha, beta = float(lam), float(alpha), float(beta)

    def images(augmented: Augmented, batch: Any, key: jax.Array) -> tuple[Any, Any]:
        keys = jax.random.split(key, 4)
        x, outliers = augmented(keys[0]), augmented(keys[1], batch.outliers)
        if x.shape != outliers.shape:
            raise ValueError(
                "mixoe mixes each ID image with an outlier of its size, got "
                f"{x.shape} and {outliers.shape}: leave outlier_batch_size out."
            )
        share = jax.random.beta(keys[2], alpha, beta)
        if mix == "mixup":
            mixed = mix_up(x, outliers, share)
        else:
            size = x.shape[1], x.shape[2]
            centre = jax.random.randint(keys[3], (2,), 0, jnp.asarray(size))
            mixed, share = cut_mix(x, outliers, cut_box(centre, share, size))
        return jnp.concatenate([x, mixed]), share

    def loss(outputs: TrainingPass, _: jax.Array) -> tuple[jax.Array, dict[str, Part]]:
        count, logits = len(outputs.labels), outputs.acts.logits  # [2B, K]
        targets = soft_labels(outputs.labels, outputs.drawn, logits.shape[-1])
        mixed = soft_cross_entropy(logits[count:], targets)
        total = softmax_cross_entropy(logits[:count], outputs.labels) + lam * mixed
        return total, {"mixed_loss": Part(mixed, jnp.float32(1))}

    values = {"lam": lam, "alpha": alpha, "beta": beta, "mix": mix}
    return Objective(
        component.call_spec("mixoe", **values),
        loss,
        images=images,
        outliers="images that are not ID, to mix ID images with",
    )
