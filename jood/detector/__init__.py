"""`Detector`: a component, a network and what was learned, in one object.

    detector = jood.Detector('fs_ta_energy', model, variables)
    detector = detector.fit(train_batches)
    scores = detector(images)                      # float32 [B], higher = more ID
    detector = detector.calibrate(id_batches, tpr=0.95)
    answer = detector.answer(images)               # all of it, in one pass
    detector.save(path); jood.Detector.load(path)

`fit` and `calibrate` return a new detector and leave the old one as it is.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import dataclasses
import functools
import os
from typing import Any, Self

import jax

from jood import models
from jood.core.activations import Activations
from jood.core.backbones import PreprocessedNetwork
from jood.core.backbones.protocol import Taps
from jood.core.batch import Batch
from jood.core.component import Component
from jood.core.fitting import Restartable
from jood.core.preprocessing import Preprocessing
from jood.detector import calibrating
from jood.detector import construction
from jood.detector import exporting
from jood.detector import image_shapes
from jood.detector import learning
from jood.detector import program
from jood.detector import pure_function as pure
from jood.detector import saving
from jood.detector import serving
from jood.detector.answers import Answer as Answer
from jood.detector.calibrating import Thresholds
from jood.detector.calibrating import required
from jood.detector.class_calibration import AnyCalibration
from jood.detector.program import SINGLE as SINGLE
from jood.detector.program import Output as Output


@dataclasses.dataclass(frozen=True, eq=False)
class Detector:
    """Scores images with a network.

    Attributes:
      component: a `Component` that ends in a score, or its text (`jood.parse`).
      model: a Linen module (`model.apply(variables, images)` gives logits), or one of
        `flax.nnx`, a `jood.Backbone` (any JAX function) or `jood.torch_backbone(...)`.
      variables: a Linen module's parameters and statistics; other kinds hold their own.
      preprocessing: if given, images are uint8, and it resizes and normalises them;
        else they are floating, as the network takes them.
      class_names: one per class, to print predictions.
      stages: module path by stage name; by default modules C2..C5.
      head: module path of the classifier's Dense layer; None for a backbone without
        one, which scores that read maps or the pooled last map can use.
      fitted: values that `fit` learned; None before.
      calibration: values that `calibrate` learned; None before.
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
    model: Any
    variables: Mapping[str, Any] = None  # type: ignore[assignment]  # never None later
    preprocessing: Preprocessing | None = None
    class_names: tuple[str, ...] | None = None
    stages: Mapping[str, str] | None = None
    head: str | None = "head"
    fitted: tuple[Any, ...] | None = None
    calibration: AnyCalibration | None = None
    image_shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        parts = (self.component, self.backbone, self.variables, self.class_names)
        component, variables = construction.checked(
            *parts, calibration=self.calibration
        )
        object.__setattr__(self, "component", component)
        object.__setattr__(self, "variables", variables)

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
            Only methods with class statistics need labels.
          cache: Folder that keeps penultimate features for later fits on the same
            data and network; an interrupted fit resumes there. Such batches need a
            fingerprint (`EvaluationBatches` of an `ArraySource`, `jood.Fingerprinted`).

        Raises:
          ValueError: no batch, images or labels that do not fit, NaNs, no fingerprint.
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
        uint8 [H, W, C]; see `jood.core.batch.as_batch`. Raises NotFittedError before
        `fit`, ValueError for images of wrong rank, dtype or channels, or with NaNs.
        """
        return serving.unnamed(self.run_named(images), self.component).scores

    def run(self, images: Any) -> Output:
        """Scores, classifies and judges images in one pass; raises as `__call__`."""
        output = serving.judged(self.run_named(images), self.calibration)
        return serving.unnamed(output, self.component)

    def run_named(self, images: Any) -> Output:
        """Like `run`, with scores by name ('score' for one alone) and no decisions."""
        learning.check_fitted(self.component, self.fitted)
        return self._run(self.read_batch(images))

    def answer(self, images: Any) -> Answer:
        """Scores, classifies and judges images in one pass, as `__call__`: `Answer`."""
        known = self.component, self.calibration, self.class_names
        return serving.answer(self.run_named(images), *known)

    def function(self) -> tuple[Callable[[Any, jax.Array], Output], Any]:
        """Returns the detector as a pure function, and its arrays.

        For your own `jit`, `vmap`, `shard_map` or serving code: `function(params,
        images)` gives an `Output`, p-values as float32. Images are of the network's
        size; one with NaNs gets the score NaN and is OOD, without an error.
        (`jax.jit(lambda x: detector(x))` works too, with the arrays as constants.)
        """
        learning.check_fitted(self.component, self.fitted)
        params = pure.parameters(*self._on_device, self.calibration)
        return pure.build(self._programs, self.backbone, self.image_shape), params

    def compile(
        self,
        image_shape: Sequence[int] | None = None,
        batch_sizes: Iterable[int] = (1,),
    ) -> Self:
        """Returns itself, compiled for batches of images (H, W, C); logs seconds."""
        learning.check_fitted(self.component, self.fitted)
        shape = image_shape or self.image_shape
        images = serving.batches(batch_sizes, self.preprocessing, shape)
        program.compile_for(self._programs, *self._on_device, images)
        return self

    def _run(self, batch: Batch) -> Output:
        image_shapes.check(batch.image, self.preprocessing, self.image_shape)
        return program.run(self._programs, *self._on_device, batch.image)

    def calibrate(
        self,
        batches: Iterable[Any],
        tpr: float = 0.95,
        thresholds: Thresholds = "one",
    ) -> Self:
        """Returns a detector with a threshold γ that keeps `tpr` of ID images.

        `jood.detector.calibration` and `class_calibration` say what is promised.

        Args:
          batches: held-out ID images, as for `fit`; neither those it was fitted on
            nor those that the network was trained on.
          tpr: fraction of ID images to keep, in (0, 1).
          thresholds: 'one' for all images; or 'per_class', one for each class that
            the network predicts, so that the promise holds in every class.

        Raises:
          ValueError: no batch, tpr out of range, too few images for it (of a class),
            or a network without classifier that should have thresholds per class.
        """
        learning.check_fitted(self.component, self.fitted)
        source = Restartable(batches, self.read_batch)
        calibration, shape = calibrating.of_batches(
            *(self._run, source, tpr, self.component.spec),
            thresholds=thresholds,
            num_classes=self.backbone.num_classes(self.variables),
            class_names=self.class_names,
        )
        shape = self.image_shape or shape
        return self._with(calibration=calibration, image_shape=shape)

    @property
    def threshold(self) -> Any:
        """γ, or {name: γ} for a bundle; float64 [K] with thresholds per class."""
        values = required(self.calibration).thresholds()
        return values if self.component.slot == "bundle" else values[SINGLE]

    def is_ood(self, images: Any) -> Any:
        """Returns bool [B] (or {name: [B]}): score < γ. Raises NotFittedError."""
        required(self.calibration)  # before images are scored
        return self.run(images).is_ood

    def p_values(self, images: Any) -> Any:
        """Returns split-conformal p-values, float64 [B] (or {name: [B]}).

        Of exchangeable ID images at most a share α has p <= α. Raises NotFittedError.
        """
        required(self.calibration)
        return self.run(images).p_value

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the detector into a new folder; see `jood.detector.saving.save`."""
        saving.save(path, **{n: getattr(self, n) for n in self.__dataclass_fields__})

    def export(
        self, path: str | os.PathLike[str], image_shape: Sequence[int] | None = None
    ) -> None:
        """Writes one file that scores (H, W, C) images alone: `exporting.export`."""
        learning.check_fitted(self.component, self.fitted)
        exporting.export(
            path,
            self._programs.inner,
            (self.variables, self.fitted or ()),
            spec=self.component.spec,
            backbone=self.backbone,
            class_names=self.class_names,
            calibration=self.calibration,
            image_shape=image_shape or self.image_shape,
        )

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        model: Any = None,
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
    def backbone(self) -> PreprocessedNetwork:
        """The network with its preprocessing, stages and head."""
        taps = Taps(stages=self.stages, head=self.head)
        return PreprocessedNetwork(self.model, self.preprocessing, taps)

    @property
    def _parts(self) -> tuple[Component, PreprocessedNetwork, Mapping[str, Any]]:
        return self.component, self.backbone, self.variables

    @functools.cached_property
    def _on_device(self) -> tuple[Any, Any]:
        """Variables and fitted values, sent to the device once, not with each batch."""
        with jax.ensure_compile_time_eval():  # also in a program that is being traced
            return jax.device_put((self.variables, self.fitted or ()))

    @functools.cached_property
    def _programs(self) -> program.Programs:
        return program.build(self.backbone, self.component)
