"""What a training run is: one frozen, printable record."""

from collections.abc import Callable, Iterator
import dataclasses
import itertools
import math
from typing import Any

import numpy as np

from jood.data import own_folders
from jood.training import augmentation
from jood.training import objectives

OPTIMIZERS = ("nesterov", "sgd", "adamw", "lars")
SCHEDULES = ("cosine", "step", "constant", "contrastive", "bit")
DTYPES = ("float32", "bfloat16")


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


# Names of fields, what they must be, and whether a value is.
_RANGES: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("epochs batch_size accumulate", "above 0", lambda x: 0 < x < math.inf),
    ("learning_rate", "above 0", lambda x: 0 < x < math.inf),
    (
        "warmup_epochs weight_decay clip_norm seed hold_out",
        ">= 0",
        lambda x: 0 <= x < math.inf,
    ),
    ("outlier_batch_size", "a whole number >= 0", lambda x: _is_whole(x) and x >= 0),
    ("momentum", "in [0, 1)", lambda x: 0 <= x < 1),
    ("decay_factor", "in (0, 1)", lambda x: 0 < x < 1),
    ("hold_out", "0 or at least 2", lambda x: x != 1),
    ("image_size", "at least 8", lambda x: 8 <= x < math.inf),
    ("image_size epochs batch_size accumulate seed hold_out", "whole", _is_whole),
    ("optimizer", f"one of {', '.join(OPTIMIZERS)}", OPTIMIZERS.__contains__),
    ("schedule", f"one of {', '.join(SCHEDULES)}", SCHEDULES.__contains__),
    ("jitter", "four strengths >= 0, of the hue <= 0.5", augmentation.are_strengths),
    ("jitter_probability", "in [0, 1]", lambda x: 0 <= x <= 1),
    ("dtype", f"one of {', '.join(DTYPES)}", DTYPES.__contains__),
)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A training run: everything that decides which parameters it ends with.

    Attributes:
      benchmark: Benchmark whose ID training set is used; '' is 'digits', or 'folders'
        with `images`.
      images: Folder of the user's own training images, one folder per class, instead
        of a benchmark's.
      validation: Folder of other images of these classes, to validate on.
      outliers: Images that are not ID, for objectives that train with some: what
        `jood.training.outliers.open_outliers` takes.
      outlier_batch_size: Outliers per step; 0 for as many as ID images.
      image_size: Side of the network's images, in pixels.
      model: Name of the network.
      objective: Objective to minimise, as `jood.training.objectives.parse` reads it.
      init_from: Folder of the network to begin with; '' begins with random weights.
      new_head: Whether that network gets a new classifier, for other classes.
      hold_out: One training image in so many is held out for validation; 0: none.
      augment: Names of `jood.training.augmentation`, in their order.
      jitter: Strengths of 'jitter' in brightness, contrast, saturation and hue.
      jitter_probability: Share of the images that 'jitter' changes.
      epochs: Passes over the training set.
      batch_size: Images per step, over all devices and processes.
      accumulate: Parts of a batch, whose gradients are averaged to save memory. Each
        has its own batch statistics, background locations and patches.
      optimizer: 'sgd' (with momentum), 'nesterov' (Nesterov's form of it), 'adamw' or
        'lars'.
      learning_rate: Peak, reached after warm-up.
      schedule: 'cosine' (to 0), 'step' or 'constant'; or a recipe's of
        `jood.training.schedules`: 'contrastive' or 'bit'.
      warmup_epochs: Linear warm-up from 0; with 'contrastive' its own. 'bit' has one of
        a number of steps, and this must be 0.
      decay_epochs: Epochs at which 'step' decays.
      decay_factor: Factor of each decay, in (0, 1).
      momentum: Momentum of SGD.
      weight_decay: Decay of weights with two axes or more, so not of biases and
        BatchNorm, which PyTorch's optimisers decay too; decoupled for AdamW.
      clip_norm: L2 norm to which a longer gradient, of all parameters together, is
        shortened before weight decay is added; 0 leaves it.
      dtype: Compute type, 'float32' or 'bfloat16'; parameters stay float32.
      seed: Decides the initial parameters, the order of the data and what is drawn.
        Fine-tuning with the first run's seed sees the data in the same order again.
    """

    benchmark: str = ""
    images: str = ""
    validation: str = ""
    outliers: str = ""
    outlier_batch_size: int = 0
    image_size: int = 32
    model: str = "resnet_small"
    objective: str = "cross_entropy()"
    init_from: str = ""
    new_head: bool = False
    hold_out: int = 0
    augment: tuple[str, ...] = ()
    jitter: tuple[float, ...] = tuple(augmentation.Jitter()[:4])
    jitter_probability: float = 1.0
    epochs: int = 16
    batch_size: int = 128
    accumulate: int = 1
    optimizer: str = "nesterov"
    learning_rate: float = 0.1
    schedule: str = "cosine"
    warmup_epochs: float = 1.0
    decay_epochs: tuple[float, ...] = ()
    decay_factor: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip_norm: float = 0.0
    dtype: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise ValueError("; ".join(problem.rstrip(".") for problem in problems))
        if not self.benchmark:
            own = own_folders.NAME if self.images else "digits"
            object.__setattr__(self, "benchmark", own)
        # One text for equal objectives: 'lff' and 'lff()' are the same run.
        object.__setattr__(self, "objective", objectives.parse(self.objective).spec)

    def as_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        fields = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}

    def _problems(self) -> Iterator[str]:
        for names, wanted, fits in _RANGES:
            for name in names.split():
                if not fits(getattr(self, name)):
                    yield f"{name} must be {wanted}, got {getattr(self, name)!r}"
        for check in (
            lambda: augmentation.check(self.augment),
            lambda: self._check_outliers(objectives.parse(self.objective)),
        ):
            try:
                check()
            except ValueError as error:
                yield str(error)
        if (self.benchmark == own_folders.NAME) != bool(self.images) and self.benchmark:
            given = f"{self.images!r} with benchmark {self.benchmark!r}"
            yield f"images are trained on instead of a benchmark's, got {given}"
        if self.validation and (self.hold_out or not self.images):
            yield "validation needs images, and hold_out = 0"
        if self.optimizer == "adamw" and self.momentum != TrainConfig.momentum:
            yield f"momentum is SGD's, AdamW does not read it; got {self.momentum}"
        if self.schedule != "step" and self.decay_factor != TrainConfig.decay_factor:
            given = f"{self.decay_factor} with {self.schedule!r}"
            yield f"decay_factor needs schedule='step', got {given}"
        decays, parts = self.decay_epochs, self.accumulate
        rising = all(a < b for a, b in itertools.pairwise([0, *decays, self.epochs]))
        if (self.schedule == "step") != bool(decays):
            given = f"{self.schedule!r} and {decays}"
            yield f"decay_epochs and schedule='step' need each other; got {given}"
        if decays and not rising:
            last = f"epochs = {self.epochs}, got {decays}"
            yield f"decay_epochs must rise from above 0 to below {last}"
        if self.schedule == "bit" and self.warmup_epochs:
            given = f"got {self.warmup_epochs}: its warm-up is a number of steps"
            yield f"warmup_epochs must be 0 with schedule='bit', {given}"
        if self.new_head and not self.init_from:
            yield "new_head needs init_from"
        if self.warmup_epochs > self.epochs:
            most = f"epochs = {self.epochs}, got {self.warmup_epochs}"
            yield f"warmup_epochs must be <= {most}"
        sizes = {"batch_size": self.batch_size}
        sizes["outlier_batch_size"] = self.outlier_batch_size
        for name, size in sizes.items():
            if parts > 0 and size % parts:
                divisor = f"accumulate = {parts}, got {size}"
                yield f"{name} must be divisible by {divisor}"

    def _check_outliers(self, objective: objectives.Objective) -> None:
        """Raises ValueError unless an objective gets outliers just if it needs them."""
        if objective.outliers and not self.outliers:
            raise ValueError(
                f"{objective.spec} trains with {objective.outliers}: name them with "
                "outliers (--outliers=FOLDER, an .npz, the name of a set, or embedded)"
            )
        if self.outliers and not objective.outliers:
            raise ValueError(
                f"{objective.spec} trains without outliers, got {self.outliers!r}"
            )
        if self.outlier_batch_size and not self.outliers:
            raise ValueError(
                f"outlier_batch_size needs outliers, got {self.outlier_batch_size}"
            )
