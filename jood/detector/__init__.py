"""`Detector`: a component, a network and what was learned, in one object.

    detector = jood.Detector('fs_ta_energy', model, variables)
    detector = detector.fit(train_batches)
    scores = detector(images)                      # float32 [B], higher = more ID
    detector = detector.calibrate(id_batches, tpr=0.95)
    answer = detector.answer(images)               # all of it, in one pass
    detector.save(path); jood.Detector.load(path)

`fit` and `calibrate` return a new detector and leave the old one as it is.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import dataclasses
import functools
import os
from typing import Any, Self

from flax import linen as nn
import jax

from jood import models
from jood.core import component as component_lib
from jood.core.activations import Activations
from jood.core.backbones import Backbone
from jood.core.backbones.linen import Taps
from jood.core.batch import Batch
from jood.core.component import Component
from jood.core.fitting import Restartable
from jood.core.preprocessing import Preprocessing
from jood.detector import construction
from jood.detector import exporting
from jood.detector import image_shapes
from jood.detector import learning
from jood.detector import program
from jood.detector import saving
from jood.detector import serving
from jood.detector import streaming
from jood.detector.answers import Answer as Answer
from jood.detector.calibration import Calibration
from jood.detector.calibration import calibrated
from jood.detector.calibration import images_needed
from jood.detector.calibration import required
from jood.detector.program import SINGLE as SINGLE
from jood.detector.program import Output as Output


@dataclasses.dataclass(frozen=True, eq=False)
class Detector:
    """Scores images with a network.

    Attributes:
      component: a `Component` that ends in a score, or its text (`jood.parse`).
      model: any Linen module; `model.apply(variables, images)` gives logits.
      variables: its parameters and statistics.
      preprocessing: if given, images are uint8, brought to size and normalised by it;
        else they are floating, as the network wants them.
      class_names: one per class, to print predictions.
      stages: module path by stage name; by default modules C2..C5.
      head: module path of the classifier's Dense layer; None for a backbone without
        one, which scores that read maps or the pooled last map can use.
      fitted: what `fit` learned; None before.
      calibration: what `calibrate` learned; None before.
      image_shape: (H, W, C) of the images it was fitted or calibrated on.

    Example:
      >>> from jood import testing
      >>> images, labels = testing.toy_images(32, seed=0)
      >>> model, variables = testing.ToyNet(), testing.toy_variables()
      >>> detector = Detector('react(q=0.9)|energy()', model, variables)
      >>> detector = detector.fit([(images, labels)]).calibrate([images], tpr=0.95)
      >>> detector(images).shape
      (32,)
      >>> unknown, _ = testing.toy_images(32, seed=1, ood=True)
      >>> bool(detector.is_ood(unknown).all())
      True
    """

    component: Component
    model: nn.Module
    variables: Mapping[str, Any]
    preprocessing: Preprocessing | None = None
    class_names: tuple[str, ...] | None = None
    stages: Mapping[str, str] | None = None
    head: str | None = "head"
    fitted: tuple[Any, ...] | None = None
    calibration: Calibration | None = None
    image_shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        parts = (self.component, self.backbone, self.variables, self.class_names)
        object.__setattr__(self, "component", construction.checked(*parts))

    def __repr__(self) -> str:
        """What it is, without its arrays."""
        state = serving.state(self.component, self.fitted, self.calibration)
        network = models.title(self.model)
        return f"Detector({self.component.spec!r}, {network}: {state})"

    def fit(
        self, batches: Iterable[Any], cache: str | os.PathLike[str] | None = None
    ) -> Self:
        """Returns a detector fitted on ID training data.

        Args:
          batches: An iterable that can be iterated again (a list, a pipeline), of
            {'image', 'label', 'mask'}, (images, labels) or images [B, H, W, C].
            Labels are needed by methods with class statistics only.
          cache: Folder that keeps penultimate features for later fits of any detector
            on the same data with the same network; an interrupted fit resumes there.
            The batches must have a fingerprint (as `EvaluationBatches` of an
            `ArraySource`, or `jood.Fingerprinted`).

        Raises:
          ValueError: no batch, images or labels that do not fit, NaNs; batches
            without a fingerprint, to be cached.
          OSError: the cache cannot be used.
        """
        source, shape = Restartable(batches, self.read_batch), self.image_shape
        if self.component.passes:
            shape = shape or source.first().image.shape[1:]
        fitted = learning.fitted_values(*self._parts, source, cache)
        return self._with(fitted=fitted, image_shape=shape)

    def features(
        self, batches: Iterable[Any], cache: str | os.PathLike[str] | None = None
    ) -> Iterator[tuple[Activations, jax.Array]]:
        """Yields records of penultimate features, without maps, batch by batch.

        Arguments and errors are those of `fit`; the network runs on what the cache
        lacks. With each record, which has labels and the runs of `component.edits`,
        comes a mask float32 [B], 0 for padding.
        """
        source = Restartable(batches, self.read_batch)
        return learning.feature_records(*self._parts, source, cache)

    def __call__(self, images: Any) -> Any:
        """Scores images [B, H, W, C]: float32 [B], or {name: [B]} for a bundle.

        A preprocessing that resizes or crops takes images of any size, also a list of
        uint8 [H, W, C]; see `jood.core.batch.as_batch`.

        Raises:
          NotFittedError: the component learns from data and `fit` was not called.
          ValueError: images of wrong rank, dtype or channels, or with NaNs.
        """
        return self.run(images).scores

    def run(self, images: Any) -> Output:
        """Scores and classifies images in one pass; see `__call__` for errors."""
        output = self.run_named(images)
        return output._replace(scores=self._like_scores(output.scores))

    def run_named(self, images: Any) -> Output:
        """Like `run`, with scores by name also of a single score: {'score': [B]}."""
        learning.check_fitted(self.component, self.fitted)
        return self._run(self.read_batch(images))

    def answer(self, images: Any) -> Answer:
        """Scores, classifies and judges images in one pass, as `__call__`: `Answer`."""
        output = self.run_named(images)
        return serving.answer(
            output, self.component, self.calibration, self.class_names
        )

    def warm_up(
        self, sizes: Iterable[int] = (1,), image_shape: Sequence[int] | None = None
    ) -> None:
        """Compiles for batches of these sizes, so that the first one need not wait.

        The images' (H, W, C) is given where no preprocessing, fit or calibration says.
        """
        learning.check_fitted(self.component, self.fitted)
        shape = image_shape or self.image_shape
        images = serving.batches(sizes, self.preprocessing, shape)
        program.warm_up(self._programs, *self._on_device, images)

    def _run(self, batch: Batch) -> Output:
        image_shapes.check(batch.image, self.preprocessing, self.image_shape)
        return program.run(self._programs, *self._on_device, batch.image)

    def calibrate(self, batches: Iterable[Any], tpr: float = 0.95) -> Self:
        """Returns a detector with a threshold γ that keeps `tpr` of ID images.

        `jood.detector.calibration` says what exactly is promised of new images.

        Args:
          batches: held-out ID images, as for `fit`; neither those it was fitted on
            nor those that the network was trained on.
          tpr: fraction of ID images to keep, in (0, 1).

        Raises:
          ValueError: no batch, tpr out of range, or too few images for it.
        """
        images_needed(tpr)  # refuses a bad tpr before images are scored
        learning.check_fitted(self.component, self.fitted)
        shape = self.image_shape

        def run(batch: Batch) -> Output:
            nonlocal shape
            shape = shape or batch.image.shape[1:]
            return self._run(batch)

        scores, _ = streaming.concatenated(run, Restartable(batches, self.read_batch))
        if not scores:
            raise component_lib.empty_data_set("calibrate")
        calibration = calibrated(scores, tpr, self.component.spec)
        return self._with(calibration=calibration, image_shape=shape)

    @property
    def threshold(self) -> Any:
        """γ, or {name: γ} for a bundle: at most 1 - tpr of ID images score below it."""
        return self._like_scores(required(self.calibration).thresholds())

    def is_ood(self, images: Any) -> Any:
        """Returns bool [B] (or {name: [B]}): score < γ. Raises NotFittedError."""
        required(self.calibration)  # before images are scored
        return self.answer(images).is_ood

    def p_values(self, images: Any) -> Any:
        """Returns split-conformal p-values, float64 [B] (or {name: [B]}).

        p = (1 + #{calibration scores <= S}) / (1 + n): of exchangeable ID images at
        most a share α has p <= α. Raises NotFittedError.
        """
        required(self.calibration)
        return self.answer(images).p_value

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the detector into a new folder; see `jood.detector.saving.save`."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        saving.save(path, **fields)

    def export(
        self, path: str | os.PathLike[str], image_shape: Sequence[int] | None = None
    ) -> None:
        """Writes one file that scores images without jood: `exporting.export`.

        The network's images are (H, W, C), by default as it was fitted or calibrated.
        """
        learning.check_fitted(self.component, self.fitted)
        exporting.export(
            path,
            self._programs[True],
            (self.variables, self.fitted or ()),
            spec=self.component.spec,
            preprocessing=self.preprocessing,
            class_names=self.class_names,
            calibration=self.calibration,
            image_shape=image_shape or self.image_shape,
        )

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        model: nn.Module | None = None,
        component: Component | None = None,
    ) -> Self:
        """Reads a detector; see `jood.detector.saving.load`."""
        return cls(**saving.load(path, model, component))

    def read_batch(self, batch: Any) -> Batch:
        """Reads a batch as `fit` takes it; raises ValueError if it is refused."""
        return self.backbone.checked(batch, self.backbone.num_classes(self.variables))

    def _with(self, **changes: Any) -> Self:
        """A copy that shares the compiled programs; what is learned is an argument."""
        other = dataclasses.replace(self, **changes)
        other.__dict__["_programs"] = self._programs
        return other

    @functools.cached_property
    def backbone(self) -> Backbone:
        """The network with its preprocessing, stages and head."""
        taps = Taps(stages=self.stages, head=self.head)
        return Backbone(self.model, self.preprocessing, taps)

    @property
    def _parts(self) -> tuple[Component, Backbone, Mapping[str, Any]]:
        return self.component, self.backbone, self.variables

    @functools.cached_property
    def _on_device(self) -> tuple[Any, Any]:
        """Variables and fitted values, sent to the device once, not with each batch."""
        return jax.device_put((self.variables, self.fitted or ()))

    @functools.cached_property
    def _programs(self) -> program.Programs:
        return program.build(self.backbone, self.component)

    def _like_scores(self, values: dict[str, Any]) -> Any:
        return values if self.component.slot == "bundle" else values[SINGLE]
