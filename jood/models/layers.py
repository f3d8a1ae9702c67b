"""What the families share: PyTorch's padding, initialisation and BatchNorm in Linen.

Flax's 'SAME', which is TensorFlow's, is not PyTorch's padding at stride 2, and its
BatchNorm has another default epsilon and momentum; a 1x1 convolution is a matrix
product, which XLA runs faster on CPUs when it is written as one. Parameters have the
names and shapes of `nn.Conv`, `nn.BatchNorm` and `nn.Dense`. A model's `dtype` is the
type that its convolutions compute in: 'float32', or 'bfloat16' or 'float16' on
accelerators; its parameters and statistics have `param_dtype`, its logits are float32.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from jood.core import activations

# PyTorch's kaiming_normal_(mode='fan_out', nonlinearity='relu') for convolutions,
# and its uniform ±1/sqrt(fan_in) for the weight and the bias of a linear layer.
conv_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
linear_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def linear_bias_init(fan_in: int) -> Callable[..., jax.Array]:
    """Returns the initialiser of a linear layer's bias."""
    limit = fan_in**-0.5
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(
        key, shape, dtype, -limit, limit
    )


# Where zeros stand around a map, for a filter that spans so many pixels, as Flax takes
# it. At stride 2 TensorFlow has more of them after the map than before it.
PADDINGS: dict[str, Callable[[int], Any]] = {
    "pytorch": lambda span: [(span // 2, span // 2)] * 2,
    "tensorflow": lambda span: "SAME",
}


@dataclasses.dataclass(frozen=True)
class Kit:
    """What the layers of a network have in common."""

    dtype: Any = jnp.float32  # that they compute in
    param_dtype: Any = jnp.float32  # of parameters and statistics
    train: bool = False  # whether BatchNorm uses, and follows, those of the batch
    epsilon: float = 1e-5  # that BatchNorm adds to the variance
    momentum: float = 0.9  # share of the old statistics; PyTorch counts 1 - momentum
    padding: str = "pytorch"  # whose convolutions are padded: a key of `PADDINGS`

    @property
    def types(self) -> dict[str, Any]:
        """Both types, by the names that Linen's layers give them."""
        return {"dtype": self.dtype, "param_dtype": self.param_dtype}


def pads(
    kit: Kit, kernel: int, stride: int, shape: tuple[int, ...]
) -> list[tuple[int, int]]:
    """Returns the zeros (before, after) along the axes H and W of a map."""
    padding = PADDINGS[kit.padding](kernel)
    if isinstance(padding, str):
        window, steps = (kernel, kernel), (stride, stride)
        padding = jax.lax.padtype_to_pads(shape, window, steps, padding)
    return list(padding)


def kit(model: Any, train: bool, **others: Any) -> Kit:
    """Returns the kit that a model's fields name, with other fields if given."""
    return Kit(jnp.dtype(model.dtype), model.param_dtype, train, **others)


def stages(count: int) -> tuple[str, ...]:
    """Returns the names of a network's stages, of which the last is always C5."""
    return activations.STAGES[-count:]


class Pointwise(nn.Module):
    """A 1x1 convolution as a matrix product; parameters as those of `nn.Conv`."""

    features: int
    kit: Kit
    stride: int = 1
    use_bias: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        dtype, param_dtype = self.kit.dtype, self.kit.param_dtype
        shape = (1, 1, x.shape[-1], self.features)
        kernel = self.param("kernel", conv_init, shape, param_dtype)
        if self.stride > 1:
            x = x[:, :: self.stride, :: self.stride]
        # [B, H, W, I] x [I, O]
        y = jnp.dot(x.astype(dtype), kernel[0, 0].astype(dtype))
        if self.use_bias:
            zeros = nn.initializers.zeros
            bias = self.param("bias", zeros, (self.features,), param_dtype)
            y = y + bias.astype(dtype)[None, None, None]
        return y


def conv(
    kit: Kit,
    features: int,
    kernel: int = 3,
    stride: int = 1,
    *,
    groups: int = 1,
    dilation: int = 1,
    use_bias: bool = False,
    name: str | None = None,
) -> nn.Module:
    """A convolution that keeps the size at stride 1, padded on every side.

    `features` is the number of channels of the output, `kernel` the side (odd), and
    `dilation` the distance of neighbouring taps.
    """
    if kernel == 1 and groups == 1:
        return Pointwise(features, kit, stride, use_bias, name=name)
    return nn.Conv(
        features,
        (kernel, kernel),
        (stride, stride),
        padding=PADDINGS[kit.padding](dilation * (kernel - 1) + 1),
        kernel_dilation=(dilation, dilation),
        feature_group_count=groups,
        use_bias=use_bias,
        kernel_init=conv_init,
        name=name,
        **kit.types,
    )


def batch_norm(kit: Kit, name: str) -> nn.BatchNorm:
    """BatchNorm as PyTorch's.

    The variance is that of centred values. As E[x²] - E[x]², Flax's default, it loses
    so many digits that the gradient on 8 devices differs from that on one by 1e-3,
    instead of 1e-5.
    """
    return nn.BatchNorm(
        use_running_average=not kit.train,
        momentum=kit.momentum,
        epsilon=kit.epsilon,
        use_fast_variance=False,
        name=name,
        **kit.types,
    )


def conv_norm(
    kit: Kit, name: str, features: int, kernel: int = 3, stride: int = 1, **options: Any
) -> Callable[[jax.Array], jax.Array]:
    """A `conv` and its BatchNorm, which is named alike, with 'bn' for 'conv'."""
    convolution = conv(kit, features, kernel, stride, name=name, **options)
    norm = batch_norm(kit, name.replace("conv", "bn"))
    return lambda x: norm(convolution(x))


class Blocks(nn.Module):
    """A stage: a run of blocks named block1, block2, ...

    `first` makes the first, which may halve the map, `further` each of the others.
    """

    count: int
    first: Callable[..., nn.Module]
    further: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i in range(self.count):
            make = self.first if i == 0 else self.further
            x = make(name=f"block{i + 1}")(x)
        return x


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate in [0, 1] that is computed from the map's mean.

    A hidden layer is `squeezed` wide; `gate` maps numbers to [0, 1].
    """

    squeezed: int
    kit: Kit
    gate: Callable[[jax.Array], jax.Array] = nn.sigmoid

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        narrow = functools.partial(conv, self.kit, kernel=1, use_bias=True)
        gate = pooled(x).astype(x.dtype)[:, None, None]  # [B, 1, 1, C]
        gate = nn.relu(narrow(self.squeezed, name="fc1")(gate))
        return x * self.gate(narrow(x.shape[-1], name="fc2")(gate))


def max_pool(x: jax.Array) -> jax.Array:
    """The 3x3 max pooling at stride 2 of ImageNet stems, padded by 1.

    First along columns, then along rows: the same numbers, from fewer comparisons.
    """
    x = nn.max_pool(x, (3, 1), (2, 1), padding=((1, 1), (0, 0)))
    return nn.max_pool(x, (1, 3), (1, 2), padding=((0, 0), (1, 1)))


def pooled(x: jax.Array) -> jax.Array:
    """Global average pooling in float32: [B, H, W, D] -> [B, D]."""
    return x.astype(jnp.float32).mean(axis=(1, 2))


def linear(kit: Kit, x: jax.Array, features: int, name: str = "head") -> jax.Array:
    """A linear layer in float32, [B, D] -> [B, features]; the classifier is 'head'."""
    return nn.Dense(
        features,
        kernel_init=linear_init,
        bias_init=linear_bias_init(x.shape[-1]),
        param_dtype=kit.param_dtype,
        name=name,
    )(x)


def check_choice(field: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises ValueError if a model's field is not one of its choices."""
    if value not in choices:
        raise ValueError(f"{field} must be one of {', '.join(choices)}, got {value!r}.")


def check_depths(field: str, *depths: int) -> None:
    """Raises ValueError unless each number of blocks is an integer from 1 to 1000.

    Whoever builds a network traces each block: a description that was damaged must not
    keep that going for ever.
    """
    if any(not isinstance(depth, int) or not 1 <= depth <= 1000 for depth in depths):
        wanted = "an integer" if len(depths) == 1 else "integers"
        shown = depths[0] if len(depths) == 1 else depths
        raise ValueError(f"{field} must be {wanted} from 1 to 1000, got {shown}.")


def check_dtype(value: str) -> None:
    """Raises ValueError unless a model can compute in this type."""
    check_choice("dtype", value, ("float32", "bfloat16", "float16"))
