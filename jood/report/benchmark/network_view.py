"""A network's prediction and last map for a few images, for a report's pictures.

What runs is the backbone of the detector that was evaluated, with its own stages and
head. The last map is the last stage by name that is a map; Threshold Activation
stands after C4, where the paper has it, else after the stage before the last map.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any, NamedTuple, Self

import jax
import numpy as np

from jood._utils import compiling
from jood.detector import Detector
from jood.evaluation import preflight
from jood.methods.scores.feature_map import mean_absolute_deviation
from jood.methods.transforms.ta import ta

_AT_ONCE = 8  # images per step: one compilation serves any number
SHARE = 0.9  # of a map's values that TA removes where a picture chooses k


class NetworkView(NamedTuple):
    """Predictions and maps of n images; maps in the order of `Viewer.labels`.

    Attributes:
      prediction: int32 [n], the class; None without a classifier.
      maps: float32 [n, h, w] each, summed over channels (Feature Sim, App. C.1).
      scores: float32 [n] each, Feature Sim of these maps.
    """

    prediction: Any
    maps: tuple[Any, ...]
    scores: tuple[Any, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Viewer:
    """Looks at a network: uint8 images [n, H, W, C] -> `NetworkView`.

    Attributes:
      detector: any detector with the network.
      k: TA's threshold.
      note: words on how k was chosen, for captions; '' where it was given.
      last: name of the last map; None for a network without maps.
      edited: name of the stage that TA edits; None if no map is before `last`.
    """

    detector: Detector
    k: float
    last: str | None
    edited: str | None
    note: str = ""

    @classmethod
    def of(cls, detector: Detector, image_size: int, k: float = 0.2) -> Self:
        """Finds the maps [B, H, W, C] of a network (a transformer has tokens)."""
        shapes = preflight.stage_shapes(detector, image_size)
        *before, last = [None, *(n for n, shape in shapes.items() if len(shape) == 4)]
        edited = "C4" if "C4" in before else before[-1] if before else None
        return cls(detector, k, last, edited)

    def suited(self, images: np.ndarray) -> "Viewer":
        """Returns a viewer whose k is a quantile of the edited map, so that TA shows.

        TA's k is in units of the map: a paper's for another network may remove nothing
        of this one's, or everything.

        Args:
          images: uint8 [n, H, W, C] in distribution, whose maps are measured.
        """
        if self.edited is None:
            return self
        stage = self.edited

        def look(variables: Any, images: jax.Array) -> jax.Array:
            return self.detector.backbone.observe(variables, images).stage(stage)

        values = compiling.run_once(look, self.detector.variables, images)
        quantile = max(0.0, float(np.quantile(values, SHARE)))
        k = float(f"{quantile:.2g}")  # as the caption has it
        note = f", the {SHARE:g}-quantile of {stage} on the first ID images"
        return dataclasses.replace(self, k=k, note=note)

    def __call__(self, images: np.ndarray) -> NetworkView:
        """Returns the network's predictions and maps of the images."""
        missing = -len(images) % _AT_ONCE
        padded = np.pad(images, [(0, missing), (0, 0), (0, 0), (0, 0)])
        steps = np.split(padded, len(padded) // _AT_ONCE)
        parts = [jax.device_get(self._program(step)) for step in steps]
        joined = jax.tree.map(lambda *each: np.concatenate(each), *parts)
        return jax.tree.map(lambda rows: rows[: len(images)], joined)

    @functools.cached_property
    def _program(self) -> Callable[[np.ndarray], NetworkView]:
        variables = jax.device_put(self.detector.variables)
        return functools.partial(jax.jit(self._view), variables)

    def _view(self, variables: Any, images: jax.Array) -> NetworkView:
        edits = () if self.edited is None else ta(self.k, self.edited).edits
        acts = self.detector.backbone.observe(variables, images, edits)
        prediction = None if self.detector.head is None else acts.prediction
        if self.last is None:
            return NetworkView(prediction, (), ())
        records = [acts, *(acts.edit(edit.spec) for (edit,) in edits)]
        maps = [record.stage(self.last) for record in records]
        sums = tuple(feature_map.sum(-1) for feature_map in maps)
        return NetworkView(prediction, sums, tuple(map(mean_absolute_deviation, maps)))

    @property
    def labels(self) -> tuple[str, ...]:
        """What each of the maps is."""
        if self.last is None:
            return ()
        return ("last map",) if self.edited is None else ("without TA", "with TA")

    @property
    def caption(self) -> str:
        """The words for the two heatmaps."""
        text = f"the last feature map, {self.last}, summed over channels"
        if self.edited is None:
            return text
        edit = f"Threshold Activation on {self.edited} (k = {self.k:g}{self.note})"
        return f"{text}: without and with {edit}"
