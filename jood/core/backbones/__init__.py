"""A network with its preprocessing: from a batch of images to activations."""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
from typing import Any

from flax import errors as flax_errors
from flax import linen as nn
import jax
import jax.numpy as jnp

from jood.core import finiteness
from jood.core.activations import Activations
from jood.core.backbones.edited_runs import EditPath
from jood.core.backbones.linen import Taps
from jood.core.backbones.linen import descend
from jood.core.backbones.linen import observe
from jood.core.batch import Batch
from jood.core.batch import as_batch
from jood.core.component import Component
from jood.core.preprocessing import Preprocessing


@dataclasses.dataclass(frozen=True, eq=False)
class Backbone:
    """How images become activations.

    Attributes:
      model: any Linen module; `model.apply(variables, images)` gives logits.
      preprocessing: Normalises uint8 images; None if they come normalised.
      taps: where the network's stages and head are.
    """

    model: nn.Module
    preprocessing: Preprocessing | None
    taps: Taps

    def num_classes(self, variables: Mapping[str, Any]) -> int | None:
        """Returns K, the width of the head; None where there is no such head."""
        if self.taps.head is None:
            return None
        node = descend(variables["params"], self.taps.head.split("/"))
        return int(node["kernel"].shape[-1]) if "kernel" in node else None

    def check_head(self, variables: Mapping[str, Any]) -> None:
        """Raises ValueError if the head holds NaN or infinite values."""
        if self.taps.head is not None:
            node = descend(variables["params"], self.taps.head.split("/"))
            if "kernel" in node:
                finiteness.check_head(node["kernel"], node.get("bias"))

    def checked(self, batch: Any, num_classes: int | None) -> Batch:
        """Reads a batch with `as_batch`; uint8 images need a preprocessing."""
        batch = as_batch(batch, num_classes, self.preprocessing)
        if self.preprocessing is None and batch.image.dtype == jnp.uint8:
            raise ValueError(
                "images are uint8 but this detector has no preprocessing. Give it one "
                "(jood.Preprocessing(mean, std)) or pass floating, normalised images."
            )
        return batch

    def observe(
        self,
        variables: Mapping[str, Any],
        images: jax.Array,
        edits: Sequence[EditPath] = (),
        labels: Any = None,
        needs_network: bool = False,
    ) -> Activations:
        """Preprocesses images [B, H, W, C] and runs the network; see `jood.observe`."""
        if self.preprocessing is not None:
            images = self.preprocessing(images)
        return self.observe_normalised(variables, images, edits, labels, needs_network)

    def asked_by(
        self,
        component: Component,
        variables: Mapping[str, Any],
        images: jax.Array,
        labels: Any = None,
    ) -> Activations:
        """Observes images with all that a component asks for."""
        return self.observe(
            variables, images, component.edits, labels, component.needs_network
        )

    def observe_normalised(
        self,
        variables: Mapping[str, Any],
        images: jax.Array,
        edits: Sequence[EditPath] = (),
        labels: Any = None,
        needs_network: bool = False,
    ) -> Activations:
        """Runs the network on floating images that are normalised already."""
        preprocessing = self.preprocessing
        std = None if preprocessing is None else jnp.asarray(preprocessing.std)
        return observe(
            self.model,
            variables,
            images,
            edits=edits,
            labels=labels,
            taps=self.taps,
            std=std,
            needs_network=needs_network,
        )


@contextlib.contextmanager
def channel_errors() -> Iterator[None]:
    """Turns Flax's error about a kernel's shape into one about the images."""
    try:
        yield
    except flax_errors.ScopeParamShapeError as error:
        raise ValueError(
            "the images do not fit the network; do they have the size and the number "
            f"of channels that it was trained on? ({error})"
        ) from None
