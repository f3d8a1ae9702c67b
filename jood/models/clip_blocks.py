"""What CLIP's two towers share: the blocks, and their activation."""

from collections.abc import Callable
import functools
from typing import Any

from flax import linen as nn
import jax

from jood.models import layers
from jood.models import vit

_EPSILON = 1e-5  # of every LayerNorm


def quick_gelu(x: jax.Array) -> jax.Array:
    """Returns x · sigmoid(1.702 x), the activation that OpenAI's CLIP trained with."""
    return x * nn.sigmoid(1.702 * x)


_ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "quick_gelu": quick_gelu,
    "gelu": functools.partial(nn.gelu, approximate=False),
}


def check_fields(tower: Any) -> None:
    """Raises ValueError if a tower's fields do not fit together."""
    layers.check_dtype(tower.dtype)
    layers.check_choice("activation", tower.activation, tuple(_ACTIVATIONS))
    layers.check_depths("depth", tower.depth)
    for name in ("heads", "mlp_width", "embedding_width"):
        if getattr(tower, name) < 1:
            raise ValueError(f"{name} must be at least 1, got {getattr(tower, name)}.")
    if tower.width < 1 or tower.width % tower.heads:
        raise ValueError(
            f"width must be a multiple of heads = {tower.heads}, got {tower.width}."
        )


def block(tower: Any, kit: layers.Kit, number: int, **options: Any) -> vit.Block:
    """Returns a tower's block of this number, counted from 1."""
    return vit.Block(
        tower.heads,
        tower.mlp_width,
        kit,
        _EPSILON,
        _ACTIVATIONS[tower.activation],
        name=f"block{number}",
        **options,
    )


def layer_norm(kit: layers.Kit, name: str) -> nn.LayerNorm:
    """Returns a LayerNorm with CLIP's epsilon."""
    return vit.layer_norm(kit, name, _EPSILON)


def projection(tower: Any, kit: layers.Kit) -> nn.Dense:
    """Returns the linear map to the embedding that both towers share, without bias."""
    init = nn.initializers.normal(tower.width**-0.5)
    return nn.Dense(
        tower.embedding_width,
        use_bias=False,
        kernel_init=init,
        param_dtype=kit.param_dtype,
        name="projection",
    )
