"""Names of the Swin Transformer's tensors: torchvision's, timm's and the authors'.

torchvision counts patch embedding, stages and mergings as one sequence. The authors'
files, which timm's earlier releases read as well, have a merging at the end of the
stage before it.
"""

from collections.abc import Callable, Sequence

from jood.models import layers
from jood.models import swin
from jood.weights import layout

_ATTENTION = ("position_bias", "qkv", "out")
_PARTS = ("norm1", *_ATTENTION, "norm2", "mlp1", "mlp2")
_THEIRS = (
    "norm1",
    "attn.relative_position_bias_table",
    "attn.qkv",
    "attn.proj",
    "norm2",
)


def _layout(
    ends: Sequence[str],
    stage: Callable[[int], str],
    merging: Callable[[int], str],
    perceptron: tuple[str, str],
) -> layout.Layout:
    """Returns a layout, given the names of a stage's blocks and of what precedes it."""

    def modules(model: swin.Swin) -> layout.Pairs:
        yield from zip(
            ("patch_embedding", "patch_norm", "norm", "head"), ends, strict=True
        )
        for i, name in enumerate(layers.stages(4)):
            if i > 0:
                parts = ("norm", "reduction")
                yield from layout.below(f"{name}_merging", merging(i), parts)
            for block in range(model.depths[i]):
                theirs = f"{stage(i)}.{block}"
                names = (*_THEIRS, *perceptron)
                ours = f"{name}_block{block + 1}"
                yield from layout.below(ours, theirs, _PARTS, names)

    return layout.Layout(modules)


_TIMM = _layout(
    ("patch_embed.proj", "patch_embed.norm", "norm", "head.fc"),
    lambda i: f"layers.{i}.blocks",
    lambda i: f"layers.{i}.downsample",
    ("mlp.fc1", "mlp.fc2"),
)
_AUTHORS = _layout(
    ("patch_embed.proj", "patch_embed.norm", "norm", "head"),
    lambda i: f"layers.{i}.blocks",
    lambda i: f"layers.{i - 1}.downsample",
    ("mlp.fc1", "mlp.fc2"),
)
_TORCHVISION = _layout(
    ("features.0.0", "features.0.2", "norm", "head"),
    lambda i: f"features.{2 * i + 1}",
    lambda i: f"features.{2 * i}",
    ("mlp.0", "mlp.3"),
)
MODEL = swin.Swin
LAYOUTS = {"torchvision": _TORCHVISION, "timm": _TIMM, "swin": _AUTHORS}
