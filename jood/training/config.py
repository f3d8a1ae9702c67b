"""What a training run is: one frozen, printable record."""

import dataclasses
import itertools
import math
from typing import Any

from jood.training import augmentation
from jood.training import objectives

OPTIMIZERS = ("nesterov", "sgd", "adamw")
SCHEDULES = ("cosine", "step", "constant")
DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A training run: everything that decides which parameters it ends with.

    Attributes:
      benchmark: Benchmark whose ID training set is used.
      image_size: Side of the network's images, in pixels.
      model: Name of the network.
      objective: What is minimised, as `jood.training.objectives.parse` reads it.
      init_from: Folder of the network to begin with; '' begins with random weights.
      new_head: Whether that network gets a new classifier, for other classes.
      hold_out: One training image in so many is held out for validation; 0: none.
      augment: Names of `jood.training.augmentation`, in their order.
      epochs: Passes over the training set.
      batch_size: Images per step, over all devices and processes.
      accumulate: Parts of a batch, whose gradients are averaged; a step needs less
        memory. Each has its own batch statistics, background locations and patches.
      optimizer: 'sgd' (with momentum), 'nesterov' (Nesterov's form of it) or 'adamw'.
      learning_rate: Peak, reached after warm-up.
      schedule: 'cosine' (to 0), 'step' (times `decay_factor` at each of
        `decay_epochs`) or 'constant'.
      warmup_epochs: Linear warm-up from 0.
      decay_epochs: Epochs at which 'step' decays.
      decay_factor: Factor of 'step', in (0, 1).
      momentum: Momentum of SGD.
      weight_decay: Decay of weights with two axes or more, so not of biases and
        BatchNorm, which PyTorch's optimisers decay too; decoupled for AdamW.
      dtype: Compute type, 'float32' or 'bfloat16'; parameters stay float32.
      seed: Decides the initial parameters, the order of the data, the augmentation and
        what an objective draws. Fine-tuning with the first run's seed sees the data in
        the same order again.
    """

    benchmark: str = "digits"
    image_size: int = 32
    model: str = "resnet_small"
    objective: str = "cross_entropy()"
    init_from: str = ""
    new_head: bool = False
    hold_out: int = 0
    augment: tuple[str, ...] = ()
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
    dtype: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        problems = [*self._out_of_range(), *self._unknown(), *self._contradictory()]
        if problems:
            raise ValueError("; ".join(problem.rstrip(".") for problem in problems))
        # One text for equal objectives: 'lff' and 'lff()' are the same run.
        object.__setattr__(self, "objective", objectives.parse(self.objective).spec)

    def as_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        fields = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}

    def _out_of_range(self) -> list[str]:
        positive = ("epochs", "batch_size", "accumulate", "learning_rate")
        at_least_0 = ("warmup_epochs", "weight_decay", "seed", "hold_out")
        ranges = (
            *((name, "above 0", lambda x: 0 < x < math.inf) for name in positive),
            *((name, ">= 0", lambda x: 0 <= x < math.inf) for name in at_least_0),
            ("momentum", "in [0, 1)", lambda x: 0 <= x < 1),
            ("decay_factor", "in (0, 1)", lambda x: 0 < x < 1),
            ("hold_out", "0 or at least 2", lambda x: x != 1),
        )
        return [
            f"{name} must be {wanted}, got {getattr(self, name)!r}"
            for name, wanted, fits in ranges
            if not fits(getattr(self, name))
        ]

    def _unknown(self) -> list[str]:
        choices = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "dtype": DTYPES}
        problems = [
            f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}"
            for name, known in choices.items()
            if getattr(self, name) not in known
        ]
        for check in (
            lambda: augmentation.check(self.augment),
            lambda: objectives.parse(self.objective),
        ):
            try:
                check()
            except ValueError as error:
                problems.append(str(error))
        return problems

    def _contradictory(self) -> list[str]:
        decays, parts = self.decay_epochs, self.accumulate
        steps = self.schedule == "step"
        rising = all(a < b for a, b in itertools.pairwise([0, *decays, self.epochs]))
        contradictions = {
            "decay_epochs go with schedule='step', which needs at least one; got "
            f"{self.schedule!r} and {decays}": steps != bool(decays),
            f"decay_epochs must rise from above 0 to below epochs = {self.epochs}, got "
            f"{decays}": decays and not rising,
            "new_head goes with init_from": self.new_head and not self.init_from,
            f"warmup_epochs must be <= epochs = {self.epochs}, got "
            f"{self.warmup_epochs}": self.warmup_epochs > self.epochs,
            f"batch_size must be divisible by accumulate = {parts}, got "
            f"{self.batch_size}": parts > 0 and self.batch_size % parts,
        }
        return [text for text, wrong in contradictions.items() if wrong]
