"""Gram matrices (Sastry & Oore): do the channels fire together as in training?

Products of channels, summed over locations, show which features occur together. For
each class training images span a range of them; how far an image lies outside the
ranges of the class that the network predicts, summed over stages and powers of the
maps, says that it has nothing to do with the class.
"""

from collections.abc import Callable
import functools
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import arguments
from jood.core import component
from jood.core import stats
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.component import Statistic
from jood.core.stats import reservoir
from jood.methods.scores.feature_map import flat

Classes = Literal["prediction", "label"]
_HELD_OUT = np.uint32(2**32 // 10)  # hashes below it: a tenth of the training images
_KEPT = 6000  # of them at most, in a fit: all of CIFAR's 50,000 images
_EPS = 1e-6  # beside a bound in a denominator, as in the authors' code
_LARGEST = 1e30  # of a deviation, so that sums stay in float32


@component.row("Gram (deviations)")
def gram_deviation(P: int = 5, classes: Classes = "prediction") -> Component:
    """Deviation of channel products from the class's range in training.

    At each stage, of a map F [C, HW], G_p = (F^p (F^p)ᵀ)^(1/p) for p = 1..P with the
    sign kept, and r_p = the row sums under that root, [C]. With the class's minimum m
    and maximum M of each r_pc over training images,

        δ = Σ_p Σ_c [ (m - r)₊ / |m + 1e-6| + (r - M)₊ / |M + 1e-6| ],

    and S = -Σ_stages δ / E[δ] / max_k p_k for the class that the network predicts. E[δ]
    is a mean over a tenth of the training images, of which the ranges know nothing; of
    more than 6,000 such images, over a uniform sample of so many.

    Args:
      P: highest power, at least 1; the paper sums 1 to 10, OpenOOD 1 to 5.
      classes: class that a training image counts for: its 'prediction', as in the
        authors' code, or its 'label' as in OpenOOD's.

    Returns:
      A score component, <= 0, that reads every stage of the network. It fits ranges,
      float32 [K, P, C] twice per stage, and the mean deviations, in one pass, which
      keeps the row sums of held-out images. A class without training images gets the
      range of all of them.

    Raises:
      ValueError: a value is out of its range; while fitting, if no image is held out or
        labels are missing that are asked for.

    References:
      Sastry, Oore, Detecting Out-of-Distribution Examples with Gram Matrices, ICML
      2020, Eq. 2-4, Algorithms 1 and 2.
    """
    arguments.check_count("P", P)
    if classes not in get_args(Classes):
        raise ValueError(
            f"classes must be one of {', '.join(get_args(Classes))}, got {classes=}."
        )
    spec = component.call_spec("gram_deviation", P=P, classes=classes)

    def of_training(acts: Activations) -> jax.Array:
        return acts.prediction if classes == "prediction" else stats.by_label(acts)

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        ranges, usual = fitted[0]["ranges"], jnp.asarray(fitted[0]["usual"])
        own = jax.tree.map(lambda x: jnp.asarray(x)[acts.prediction], ranges)
        each = [
            deviation(row_sums(acts.stage(stage), P), own[stage])
            for stage in sorted(ranges)
        ]
        total = (jnp.stack(each, axis=-1) / usual[None]).sum(-1)  # [B, S] -> [B]
        return -total / jax.nn.softmax(acts.logits).max(-1)

    passes = (lambda _: _ranges_and_usual(of_training, P, spec),)
    return component.build(
        spec,
        "score",
        apply,
        passes,
        reads=("stage", "logit"),
        needs_labels=classes == "label",
    )


def row_sums(feature_map: jax.Array, P: int) -> jax.Array:
    """r_p of a map [B, H, W, C] or tokens [B, L, C]: float32 [B, P, C].

    A row of t tᵀ sums to t (Σ_c t_c), so no matrix [C, C] is built.
    """
    x = flat(feature_map)  # [B, L, C]
    largest = jnp.abs(x).max((1, 2))  # [B]
    unit = jnp.where(largest > 0, largest, 1.0)  # powers stay in float32

    def of_image(image: tuple[jax.Array, jax.Array]) -> jax.Array:
        powers = [image[0] / image[1]]  # of the map, [L, C]
        for _ in range(P - 1):
            powers.append(powers[-1] * powers[0])
        sums = [jnp.matmul(t.sum(-1), t, precision="highest") for t in powers]
        return jnp.stack(sums)

    # On a CPU image by image: a map's powers stay in its cache, which is four times as
    # fast and needs less memory. A GPU wants the whole batch at once.
    r = jax.lax.platform_dependent(
        (x, unit),
        cpu=functools.partial(jax.lax.map, of_image),
        default=jax.vmap(of_image),
    )  # [B, P, C]
    roots = 1 / jnp.arange(1, P + 1, dtype=jnp.float32)[None, :, None]
    return jnp.sign(r) * jnp.abs(r) ** roots * jnp.square(largest)[:, None, None]


def deviation(r: Any, range_of: dict[str, Any], xp: Any = jnp) -> Any:
    """δ at a stage of row sums [B, P, C] from ranges {end: [B, P, C]}; [B]."""
    low, high = range_of["low"], range_of["high"]
    below = xp.maximum(low - r, 0) / xp.abs(low + _EPS)
    above = xp.maximum(r - high, 0) / xp.abs(high + _EPS)
    return xp.minimum(below + above, _LARGEST).sum((1, 2))


def held_out(acts: Activations) -> jax.Array:
    """Which images only measure usual deviations, by a hash of the feature; [B]."""
    return reservoir.row_hash(acts.original) < _HELD_OUT


def _ranges_and_usual(
    classes: Callable[[Activations], jax.Array], P: int, name: str
) -> Statistic:
    """{'ranges': {stage: {end: [K, P, C]}}, 'usual': the mean δ, float32 [S]; 1 for 0}.

    The state holds the highest of -r and of r, [K, 2, P, C] by stage, and of held-out
    images class and r, [1 + Σ_stages P C].
    """
    bank: Any = reservoir.bank  # of what is measured, in place of a record
    kept = bank(_joined, _KEPT, hashed=_original)

    def measured(acts: Activations) -> _Measured:
        sums = {stage: row_sums(acts.stage(stage), P) for stage in sorted(acts.stages)}
        return _Measured(acts.original, classes(acts), sums)

    def init(acts: Activations) -> dict[str, Any]:
        acts.check_stages("gram_deviation()")
        highest = {
            stage: jnp.full((acts.logits.shape[-1], 2, P, x.shape[-1]), -jnp.inf)
            for stage, x in acts.stages.items()
        }
        return {"highest": highest, "kept": kept.init(jax.eval_shape(measured, acts))}

    def update(
        state: dict[str, Any], acts: Activations, mask: jax.Array
    ) -> dict[str, Any]:
        batch, count, held = measured(acts), acts.logits.shape[-1], held_out(acts)
        group = jnp.where((mask > 0) & ~held, batch.classes, count)  # or dropped

        def highest(stage: str) -> jax.Array:
            r = batch.sums[stage]
            both = jnp.stack([-r, r], axis=1)  # [B, 2, P, C]
            largest = jax.ops.segment_max(both, group, count + 1)[:-1]
            return jnp.maximum(state["highest"][stage], largest)

        return {
            "highest": {stage: highest(stage) for stage in batch.sums},
            "kept": kept.update(state["kept"], batch, mask * held),
        }

    def merge(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
        return {
            "highest": jax.tree.map(jnp.maximum, a["highest"], b["highest"]),
            "kept": kept.merge(a["kept"], b["kept"]),
        }

    def finalize(state: dict[str, Any]) -> dict[str, Any]:
        ranges = {}
        for stage, highest in state["highest"].items():
            of_all = highest.max(0, keepdims=True)
            own = np.where(np.isfinite(highest), highest, of_all)
            ranges[stage] = {"low": -own[:, 0], "high": own[:, 1]}
        usual = _usual(ranges, kept.finalize(state["kept"]), name)
        return {"ranges": ranges, "usual": usual}

    return Statistic(init, update, merge, finalize)


class _Measured(NamedTuple):
    """What is measured of a batch."""

    original: jax.Array  # the feature, float32 [B, D]
    classes: jax.Array  # int32 [B]
    sums: dict[str, jax.Array]  # by stage, float32 [B, P, C]


def _original(batch: _Measured) -> jax.Array:
    return batch.original


def _joined(batch: _Measured) -> jax.Array:
    """The class of each image and its row sums at all stages: [B, 1 + Σ P C]."""
    columns = [batch.classes[:, None].astype(jnp.float32)]  # exact up to 2^24 classes
    for _, r in sorted(batch.sums.items()):
        columns.append(r.reshape(r.shape[0], -1))
    return jnp.concatenate(columns, axis=-1)


def _usual(ranges: dict[str, Any], kept: np.ndarray, name: str) -> np.ndarray:
    """The mean δ of held-out images at each stage, in sorted order."""
    if not len(kept):
        raise ValueError(
            f"{name} holds out a tenth of the training images to measure usual "
            "deviations, but of these none fell into it. Fit on more images."
        )
    total = np.zeros(len(ranges))
    for some in np.array_split(kept, -(-len(kept) // 256)):  # bounds the memory
        own, start = some[:, 0].astype(int), 1
        for place, stage in enumerate(sorted(ranges)):
            range_of = {end: x[own] for end, x in ranges[stage].items()}
            shape = range_of["low"].shape  # [n, P, C]
            stop = start + shape[1] * shape[2]
            r = some[:, start:stop].reshape(shape)
            with np.errstate(over="ignore", divide="ignore"):  # _LARGEST bounds it
                total[place] += deviation(r, range_of, np).sum(dtype=np.float64)
            start = stop
    mean = total / len(kept)
    return np.where(mean > 0, mean, 1.0).astype(np.float32)
