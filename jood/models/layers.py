"""What the families share: PyTorch's padding, initialisation and BatchNorm in Linen.

Flax's 'SAME' is not PyTorch's padding at stride 2, and its BatchNorm has another
default epsilon and momentum; a 1x1 convolution is a matrix product, which XLA runs
faster on CPUs when it is told so. Parameters have the names and shapes of `nn.Conv`,
`nn.BatchNorm` and `nn.Dense`.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

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


@dataclasses.dataclass(frozen=True)
class Types:
    """The numerics of layers.

    Attributes:
      dtype: the type that they compute in.
      param_dtype: that of their parameters.
      epsilon: The number that BatchNorm adds to the variance.
    """

    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    epsilon: float = 1e-5


class Pointwise(nn.Module):
    """A 1x1 convolution as a matrix product; parameters as those of `nn.Conv`.

    Attributes:
      features: channels of the output.
      stride: The step, in both directions.
      use_bias: whether a bias is added.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    features: int
    stride: int = 1
    use_bias: bool = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (1, 1, x.shape[-1], self.features)
        kernel = self.param("kernel", conv_init, shape, self.param_dtype)
        if self.stride > 1:
            x = x[:, :: self.stride, :: self.stride]
        # [B, H, W, I] x [I, O]
        y = jnp.dot(x.astype(self.dtype), kernel[0, 0].astype(self.dtype))
        if self.use_bias:
            bias = self.param(
                "bias", nn.initializers.zeros, (self.features,), self.param_dtype
            )
            y = y + bias.astype(self.dtype)[None, None, None]
        return y


def conv(
    types: Types,
    features: int,
    kernel: int = 3,
    stride: int = 1,
    *,
    groups: int = 1,
    dilation: int = 1,
    use_bias: bool = False,
    name: str | None = None,
) -> nn.Module:
    """A square convolution that keeps the size at stride 1, padded on every side.

    Args:
      types: Types of the computation and the parameters.
      features: channels of the output.
      kernel: Its side; odd.
      stride: The step, in both directions.
      groups: Number of groups of channels (their own number: depthwise).
      dilation: Distance of neighbouring taps.
      use_bias: whether a bias is added.
      name: The name of the module.
    """
    if kernel == 1 and groups == 1:
        return Pointwise(
            features, stride, use_bias, types.dtype, types.param_dtype, name=name
        )
    side = dilation * (kernel - 1) // 2
    return nn.Conv(
        features,
        (kernel, kernel),
        (stride, stride),
        padding=((side, side), (side, side)),
        kernel_dilation=(dilation, dilation),
        feature_group_count=groups,
        use_bias=use_bias,
        kernel_init=conv_init,
        dtype=types.dtype,
        param_dtype=types.param_dtype,
        name=name,
    )


def batch_norm(
    types: Types, train: bool, momentum: float = 0.9
) -> Callable[..., nn.BatchNorm]:
    """Returns BatchNorm with PyTorch's defaults, still to be named.

    The variance is that of centred values. As E[x²] - E[x]², Flax's default, it loses
    so many digits that the gradient on 8 devices differs from that on one by 1e-3,
    instead of 1e-5.

    Args:
      types: Types of the computation and the parameters.
      train: whether it uses (and updates the running) statistics of the batch.
      momentum: share of the old running statistics; PyTorch counts 1 - momentum.
    """
    return functools.partial(
        nn.BatchNorm,
        use_running_average=not train,
        momentum=momentum,
        epsilon=types.epsilon,
        use_fast_variance=False,
        dtype=types.dtype,
        param_dtype=types.param_dtype,
    )


class Blocks(nn.Module):
    """A stage: a run of blocks named block1, block2, ...

    Attributes:
      count: How many there are.
      first: Makes the first, which may halve the map.
      further: Makes each of the others.
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
    """Scales each channel by a gate in [0, 1] that is read off the map's mean.

    Attributes:
      squeezed: Width of the hidden layer.
      types: Types of the computation and the parameters.
      gate: Maps numbers to [0, 1].
    """

    squeezed: int
    types: Types
    gate: Callable[[jax.Array], jax.Array] = nn.sigmoid

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        narrow = functools.partial(conv, self.types, kernel=1, use_bias=True)
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


def head(num_classes: int, types: Types, fan_in: int) -> nn.Dense:
    """The classifier: a `Dense` named 'head', computed in float32."""
    return nn.Dense(
        num_classes,
        kernel_init=linear_init,
        bias_init=linear_bias_init(fan_in),
        param_dtype=types.param_dtype,
        name="head",
    )


def check_choice(field: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises ValueError if a model's field is not one of its choices."""
    if value not in choices:
        raise ValueError(f"{field} must be one of {', '.join(choices)}, got {value!r}.")


def check_dtype(value: str) -> None:
    """Raises ValueError unless a model can compute in this type."""
    check_choice("dtype", value, ("float32", "bfloat16", "float16"))
