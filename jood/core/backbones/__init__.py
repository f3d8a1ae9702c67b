"""A network with its preprocessing: from a batch of images to activations."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
from typing import Any, TypeVar

from flax import errors as flax_errors
import jax
import jax.numpy as jnp

from jood.core import finiteness
from jood.core.activations import Activations
from jood.core.backbones import kinds
from jood.core.backbones.edited_runs import EditPath
from jood.core.backbones.observing import measured_in_chunks
from jood.core.backbones.observing import observe
from jood.core.backbones.observing import observe_in_chunks
from jood.core.backbones.protocol import Kind
from jood.core.backbones.protocol import Taps
from jood.core.batch import Batch
from jood.core.batch import as_batch
from jood.core.component import Component
from jood.core.preprocessing import Preprocessing

M = TypeVar("M")  # pytree of arrays [B, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class PreprocessedNetwork:
    """How images become activations.

    Attributes:
      model: a network of any kind that `kinds` knows.
      preprocessing: Normalises uint8 images; None if they come normalised.
      taps: paths of the network's stages and head.
    """

    model: Any
    preprocessing: Preprocessing | None
    taps: Taps

    @property
    def kind(self) -> Kind:
        """What the model is: Linen, flax.nnx, a function."""
        return kinds.of(self.model)

    def num_classes(self, variables: Mapping[str, Any]) -> int | None:
        """Returns K, the width of the head; None where there is no such head."""
        head = self.kind.head(variables, self.taps)
        return None if head is None else int(head[0].shape[-1])

    def check_head(self, variables: Mapping[str, Any]) -> None:
        """Raises ValueError if the head holds NaN or infinite values."""
        head = self.kind.head(variables, self.taps)
        if head is not None:
            finiteness.check_head(*head)

    def checked(self, batch: Any, num_classes: int | None) -> Batch:
        """Reads a batch with `as_batch`; uint8 images need a preprocessing."""
        batch = as_batch(batch, num_classes, self.preprocessing)
        self.check_normalised(batch.image)
        return batch

    def check_normalised(self, images: Any) -> None:
        """Raises ValueError for uint8 images that nothing normalises."""
        if self.preprocessing is None and images.dtype == jnp.uint8:
            raise ValueError(
                "images are uint8 but this detector has no preprocessing. Give it one "
                "(jood.Preprocessing(mean, std)) or pass floating, normalised images."
            )

    def observe(
        self,
        variables: Mapping[str, Any],
        images: jax.Array,
        edits: Sequence[EditPath] = (),
        labels: Any = None,
        needs_network: bool = False,
    ) -> Activations:
        """Preprocesses images [B, H, W, C] and runs the network; see `jood.observe`."""
        images = self._normalised(images)
        return self.observe_normalised(variables, images, edits, labels, needs_network)

    def observe_in_chunks(
        self,
        variables: Mapping[str, Any],
        images: jax.Array,
        edits: Sequence[EditPath] = (),
    ) -> Activations:
        """Returns what `observe` returns, for a compiled program: faster on CPUs."""
        images = self._normalised(images)
        return observe_in_chunks(
            self.model, variables, images, edits=edits, taps=self.taps
        )

    def asked_by(
        self,
        component: Component,
        variables: Mapping[str, Any],
        images: jax.Array,
        labels: Any = None,
    ) -> Activations:
        """Observes images with all that a component asks for, in a compiled program.

        On CPUs the network takes the batch in chunks, unless a component runs it again,
        since XLA merges runs of the same images.
        """
        return self.measured(component, variables, images, lambda _: (), labels)[0]

    def measured(
        self,
        component: Component,
        variables: Mapping[str, Any],
        images: jax.Array,
        measure: Callable[[Activations], M],
        labels: Any = None,
    ) -> tuple[Activations, M | None]:
        """Returns what `asked_by` returns, and what `measure` gives of its chunks.

        None, if there are none; see `observing.measured_in_chunks`.
        """
        edits = component.edits
        if component.needs_network:
            acts = self.observe(variables, images, edits, labels, needs_network=True)
            return acts, None
        images = self._normalised(images)
        options: dict[str, Any] = {"edits": edits, "labels": labels, "taps": self.taps}
        return measured_in_chunks(self.model, variables, images, measure, **options)

    def _normalised(self, images: jax.Array) -> jax.Array:
        return images if self.preprocessing is None else self.preprocessing(images)

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
    """Turns Flax's error about a kernel's shape into one about the images.

    An error of a network that JAX calls back for (PyTorch) becomes what it was, too.
    """
    try:
        yield
    except flax_errors.ScopeParamShapeError as error:
        raise ValueError(
            "the images do not fit the network; do they have the size and the number "
            f"of channels that it was trained on? ({error})"
        ) from None
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        _, of_callback, message = str(error).rpartition("\nValueError: ")
        if not of_callback:
            raise
        raise ValueError(message.strip()) from error
