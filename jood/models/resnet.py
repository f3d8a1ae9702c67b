"""Residual networks (He et al., CVPR 2016), laid out so that torchvision weights fit.

Stages are modules named C2..C5; each returns the activated map after its last
block, at stride 4, 8, 16, 32 with the ImageNet stem. A network of fewer stages ends
at C5 all the same: the last stage is always C5. As in torchvision, a bottleneck has
its stride on the 3x3 convolution, padding is (1, 1) on both sides also at stride 2
(Flax's 'SAME' is not), and BatchNorm has epsilon 1e-5 and momentum 0.9.

`dtype` is the type that convolutions compute in (bfloat16 on accelerators); the
parameters and BatchNorm statistics are `param_dtype`, the logits float32.
"""

from collections.abc import Callable
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

# PyTorch's kaiming_normal_(mode='fan_out', nonlinearity='relu') for convolutions,
# and its uniform ±1/sqrt(fan_in) for the weight and the bias of a linear layer.
_conv_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
_linear_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def _linear_bias_init(fan_in: int) -> Callable[..., jax.Array]:
    limit = fan_in**-0.5
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(
        key, shape, dtype, -limit, limit
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; the output has `features` channels."""

    features: int
    stride: int
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.conv(self.features, (3, 3), self.stride, name="conv1")(x)
        y = nn.relu(self.norm(name="bn1")(y))
        y = self.conv(self.features, (3, 3), name="conv2")(y)
        y = self.norm(name="bn2")(y)
        return nn.relu(y + _shortcut(self, x, y.shape[-1]))


class BottleneckBlock(nn.Module):
    """1x1, 3x3 and 1x1 convolutions; the output has 4 `features` channels."""

    features: int
    stride: int
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.conv(self.features, (1, 1), name="conv1")(x)
        y = nn.relu(self.norm(name="bn1")(y))
        y = self.conv(self.features, (3, 3), self.stride, name="conv2")(y)
        y = nn.relu(self.norm(name="bn2")(y))
        y = self.conv(4 * self.features, (1, 1), name="conv3")(y)
        y = self.norm(name="bn3")(y)
        return nn.relu(y + _shortcut(self, x, y.shape[-1]))


def _shortcut(
    block: BasicBlock | BottleneckBlock, x: jax.Array, channels: int
) -> jax.Array:
    """The identity, or a strided 1x1 projection where the shape changes."""
    if block.stride == 1 and x.shape[-1] == channels:
        return x
    x = block.conv(channels, (1, 1), block.stride, name="downsample_conv")(x)
    return block.norm(name="downsample_bn")(x)


class Stage(nn.Module):
    """A run of blocks at one resolution, the first of which has the stride."""

    blocks: int
    make_block: Callable[..., nn.Module]
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i in range(self.blocks):
            stride = self.stride if i == 0 else 1
            x = self.make_block(stride=stride, name=f"block{i + 1}")(x)
        return x


class ResNet(nn.Module):
    """A ResNet classifier.

    Attributes:
      stage_sizes: number of blocks of each stage, two to four stages.
      num_classes: K.
      block: 'basic' or 'bottleneck'.
      stem: 'imagenet' (7x7 stride 2 and max pooling), 'cifar' (3x3 stride 1) or
        'strided' (3x3 stride 2, a quarter of the cost).
      width: channels of the first stage (a bottleneck returns four times as many);
        each further stage doubles it.
      dtype: compute type, 'float32', 'bfloat16' or 'float16'.
      param_dtype: type of parameters and statistics.
    """

    stage_sizes: tuple[int, ...]
    num_classes: int
    block: str = "basic"
    stem: str = "imagenet"
    width: int = 64
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        _check_choice("block", self.block, ("basic", "bottleneck"))
        _check_choice("stem", self.stem, ("imagenet", "cifar", "strided"))
        _check_choice("dtype", self.dtype, ("float32", "bfloat16", "float16"))
        if not 2 <= len(self.stage_sizes) <= 4:
            raise ValueError(
                f"stage_sizes must name 2 to 4 stages, got {self.stage_sizes}."
            )
        super().__post_init__()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images float [B, H, W, 3] to logits float32 [B, K]."""
        dtype = jnp.dtype(self.dtype)
        types: dict[str, Any] = {"dtype": dtype, "param_dtype": self.param_dtype}
        conv = functools.partial(_conv, types)
        norm = functools.partial(
            nn.BatchNorm,
            use_running_average=not train,
            momentum=0.9,
            epsilon=1e-5,
            **types,
        )
        x = images.astype(dtype)
        if self.stem == "imagenet":
            x = conv(self.width, (7, 7), 2, name="conv1")(x)
        else:
            stride = 2 if self.stem == "strided" else 1
            x = conv(self.width, (3, 3), stride, name="conv1")(x)
        x = nn.relu(norm(name="bn1")(x))
        if self.stem == "imagenet":
            x = nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))

        make = {"basic": BasicBlock, "bottleneck": BottleneckBlock}[self.block]
        first = 6 - len(self.stage_sizes)  # the last stage is always C5
        for i, blocks in enumerate(self.stage_sizes):
            make_block = functools.partial(
                make, features=self.width * 2**i, conv=conv, norm=norm
            )
            stride = 1 if i == 0 else 2
            x = Stage(blocks, make_block, stride, name=f"C{first + i}")(x)

        x = x.astype(jnp.float32).mean(axis=(1, 2))  # global average pooling, [B, D]
        return nn.Dense(
            self.num_classes,
            kernel_init=_linear_init,
            bias_init=_linear_bias_init(x.shape[-1]),
            param_dtype=self.param_dtype,
            name="head",
        )(x)


def _conv(
    types: dict[str, Any],
    features: int,
    kernel: tuple[int, int],
    stride: int = 1,
    *,
    name: str,
) -> nn.Conv:
    """A convolution without bias, padded as PyTorch pads: k // 2 on every side."""
    return nn.Conv(
        features,
        kernel,
        (stride, stride),
        padding=[(k // 2, k // 2) for k in kernel],
        use_bias=False,
        kernel_init=_conv_init,
        name=name,
        **types,
    )


def _check_choice(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{field} must be one of {', '.join(choices)}, got {value!r}.")


_DEPTHS: dict[str, dict[str, Any]] = {
    "resnet18": {"stage_sizes": (2, 2, 2, 2)},
    "resnet34": {"stage_sizes": (3, 4, 6, 3)},
    "resnet50": {"stage_sizes": (3, 4, 6, 3), "block": "bottleneck"},
    "resnet101": {"stage_sizes": (3, 4, 23, 3), "block": "bottleneck"},
}
MODELS: dict[str, Callable[..., nn.Module]] = {
    **{n: functools.partial(ResNet, **depth) for n, depth in _DEPTHS.items()},
    **{
        f"{n}_cifar": functools.partial(ResNet, stem="cifar", **depth)
        for n, depth in _DEPTHS.items()
    },
    # For the embedded benchmark. At 32 px the last map is 4x4, and two CPU cores train
    # it in two minutes; the second keeps 8x8 locations, at about a quarter of that.
    "resnet_small": functools.partial(
        ResNet, stage_sizes=(2, 2, 2), stem="strided", width=16
    ),
    "resnet_small_8x8": functools.partial(
        ResNet, stage_sizes=(2, 2, 2), stem="cifar", width=16
    ),
}
