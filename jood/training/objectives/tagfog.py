"""TagFog: fake outliers of shuffled pieces, and texts that anchor the classes.

An image that is cut and put together anew keeps its textures and loses its object. The
fakes are one more class; features of ID images are drawn to the text of their class.
"""

import pathlib
from typing import Any
import zipfile
import zlib

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import arguments
from jood.core import added_heads
from jood.core import component
from jood.core.activations import linear
from jood.training.forward import TrainingPass
from jood.training.objectives import projection
from jood.training.objectives.cross_entropy import softmax_cross_entropy
from jood.training.objectives.objective import Augmented
from jood.training.objectives.objective import Objective
from jood.training.objectives.objective import Part
from jood.training.objectives.supcon import contrastive_loss
from jood.training.objectives.supcon import same

COLLECTION, ANCHORS = "tagfog", "tagfog_anchors"


def shuffled(key: jax.Array, images: jax.Array, grid: int) -> jax.Array:
    """Cuts each image into grid x grid tiles and puts them together in random order.

    Args:
      key: Decides the orders.
      images: [B, H, W, C]; rows and columns beyond a multiple of `grid` stay in place.
      grid: Tiles along a side.
    """
    batch, height, width, channels = images.shape
    h, w = height // grid, width // grid
    if not h or not w:
        raise ValueError(f"{grid=} is more than the {height} x {width} pixels.")
    inner = images[:, : h * grid, : w * grid]
    tiles = inner.reshape(batch, grid, h, grid, w, channels).swapaxes(2, 3)
    tiles = tiles.reshape(batch, grid * grid, h, w, channels)

    def one(key: jax.Array, tiles: jax.Array) -> jax.Array:
        return tiles[jax.random.permutation(key, grid * grid)]

    tiles = jax.vmap(one)(jax.random.split(key, batch), tiles)
    tiles = tiles.reshape(batch, grid, grid, h, w, channels).swapaxes(2, 3)
    inner = tiles.reshape(batch, h * grid, w * grid, channels)
    return jnp.asarray(images).at[:, : h * grid, : w * grid].set(inner)


def text_loss(
    u: jax.Array, anchors: jax.Array, labels: jax.Array, temperature: float
) -> jax.Array:
    """-1/N Σ over ID rows of log softmax(u·t̂ᵀ / T)_y, float32 [].

    Fakes add 0 and are counted, as in the authors' code.

    Args:
      u: float32 [N, P], of length 1.
      anchors: t̂, float32 [K, P], of length 1.
      labels: y, int32 [N]; K for a fake.
      temperature: T > 0.
    """
    chex.assert_rank([u, anchors, labels], [2, 2, 1])
    logits = jnp.matmul(u, anchors.T, precision=jax.lax.Precision.HIGHEST)
    log_p = jax.nn.log_softmax(logits / temperature, axis=-1)  # [N, K]
    real = labels < len(anchors)
    true = jnp.where(real, labels, 0)
    chosen = jnp.take_along_axis(log_p, true[:, None], axis=-1)[:, 0]
    return -jnp.where(real, chosen, 0.0).mean()


def read_anchors(path: str, classes: int) -> np.ndarray:
    """Returns the texts' embeddings of an .npz or .npy file, float32 [K, P].

    Args:
      path: A file with one array [K, P], a row for each class in their order.
      classes: K.

    Raises:
      OSError: It cannot be read.
      ValueError: No path is given, or it holds something else.
    """
    if not path:
        raise ValueError(
            "tagfog needs anchors: give anchors='texts.npz', a file with one array "
            "[K, P] of the classes' text embeddings, as CLIP gives them."
        )
    form = f"one array [K, P] with K = {classes}, a text embedding for each class"
    try:
        file = np.load(pathlib.Path(path).expanduser())
        arrays = [file] if isinstance(file, np.ndarray) else [file[k] for k in file]
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"cannot read anchors from {path}: {str(error).rstrip('.')}. Expected a "
            f".npz or .npy file of {form}."
        ) from None
    array = arrays[0] if len(arrays) == 1 else np.zeros(0)
    numeric = np.issubdtype(array.dtype, np.number) and not np.iscomplexobj(array)
    if array.ndim != 2 or len(array) != classes or not array.size or not numeric:
        given = [f"{one.dtype} {one.shape}" for one in arrays] or "none"
        raise ValueError(f"{path} must hold {form}, got {given}.")
    with np.errstate(over="ignore"):  # what float32 cannot hold is told below
        array = array.astype(np.float32)
    if len(odd := np.flatnonzero(~np.isfinite(array).all(-1))):
        raise ValueError(
            f"{path} must hold finite numbers, got NaN or infinity in the rows of the "
            f"classes {odd[:8].tolist()}. Make these embeddings again."
        )
    return array


def tagfog(
    anchors: str = "",
    alpha: float = 1.0,
    beta: float = 1.0,
    text_temperature: float = 0.1,
    temperature: float = 0.1,
    fakes: int = 1,
    grid: int = 4,
    width: int = 1024,
) -> Objective:
    """L = CE over K + 1 classes + α L_text + β L_supcon, on two views with fakes.

    Scores read the logits of the K classes alone, which are the network's own. The
    authors make the fakes beforehand, here each step makes its own.

    Args:
      anchors: Path of the texts' embeddings; see `read_anchors`.
      alpha: α >= 0, of the text anchors.
      beta: β >= 0, of the contrastive loss, in which fakes are one more class.
      text_temperature: T > 0 of L_text.
      temperature: T > 0 of L_supcon.
      fakes: Number per image; the authors' is 2 for CIFAR-10, 1 for CIFAR-100.
      grid: Tiles along a side; 4, for ImageNet-100 8.
      width: Hidden units of the projector.

    References:
      Chen, Zhang, Zheng, Wang, TagFog, AAAI 2024, Sec. 3; its released code.
    """
    arguments.check_at_least("alpha", alpha, 0)
    arguments.check_at_least("beta", beta, 0)
    arguments.check_positive("text_temperature", text_temperature)
    arguments.check_positive("temperature", temperature)
    for name, value in {"fakes": fakes, "grid": grid, "width": width}.items():
        arguments.check_count(name, value)
    if not isinstance(anchors, str):
        raise ValueError(f"anchors must be the path of a file, got {anchors!r}.")
    alpha, beta = float(alpha), float(beta)
    temperatures = float(text_temperature), float(temperature)

    def init(key: jax.Array, features: int, classes: int) -> dict[str, Any]:
        texts = jnp.asarray(read_anchors(anchors, classes))
        first, second = jax.random.split(key)
        norm = {"scale": jnp.ones(width), "offset": jnp.zeros(width)}
        layers = projection.mlp_layers(first, features, width, texts.shape[-1])
        layers["hidden"] |= norm
        fake = projection.linear_layer(second, features, 1)
        return {COLLECTION: {**layers, "fake": fake}, ANCHORS: {"text": texts}}

    def images(augmented: Augmented, batch: Any, key: jax.Array) -> tuple[Any, None]:
        first, *views = jax.random.split(key, 3)
        pieces = [
            shuffled(each, batch.image, grid) for each in jax.random.split(first, fakes)
        ]
        both = jnp.concatenate([jnp.asarray(batch.image), *pieces])
        return jnp.concatenate([augmented(each, both) for each in views]), None

    def projected(layers: dict[str, Any], h: jax.Array) -> jax.Array:
        x = added_heads.linear(layers["hidden"], h)
        spread = jnp.sqrt(x.var(0, keepdims=True) + 1e-5)  # BatchNorm's, of the batch
        x = (x - x.mean(0, keepdims=True)) / spread
        x = x * layers["hidden"]["scale"][None] + layers["hidden"]["offset"][None]
        return projection.unit(added_heads.linear(layers["output"], jax.nn.relu(x)))

    def loss(outputs: TrainingPass, _: jax.Array) -> tuple[jax.Array, dict[str, Part]]:
        layers, acts = outputs.added[COLLECTION], outputs.acts
        texts = projection.unit(outputs.added[ANCHORS]["text"])
        h, classes = acts.penultimate, len(texts)
        fake = jnp.full(len(outputs.labels) * fakes, classes, outputs.labels.dtype)
        labels = projection.of_views(outputs, jnp.concatenate([outputs.labels, fake]))
        logits = jnp.concatenate(
            [linear(h, acts.kernel, acts.bias), added_heads.linear(layers["fake"], h)],
            axis=-1,
        )  # [N, K + 1]
        u = projected(layers, h)
        plain = softmax_cross_entropy(logits, labels)
        text_term = text_loss(u, texts, labels, temperatures[0])
        pull = contrastive_loss(u, same(labels), temperatures[1])
        one = jnp.float32(1)
        return plain + alpha * text_term + beta * pull, {
            "classifier_loss": Part(plain, one),
            "text_loss": Part(text_term, one),
            "contrastive_loss": Part(pull, one),
        }

    spec = component.call_spec(
        "tagfog",
        anchors=anchors,
        alpha=alpha,
        beta=beta,
        text_temperature=temperatures[0],
        temperature=temperatures[1],
        fakes=fakes,
        grid=grid,
        width=width,
    )
    return Objective(
        spec,
        loss,
        init=init,
        state=(ANCHORS,),
        images=images,
        rows={"Energy": "energy()"},
    )
