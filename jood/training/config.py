"""What a training run is: one frozen, printable record."""

import dataclasses
from typing import Any

import optax

SCHEDULES = ("cosine", "step")
DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A training run.

    Attributes:
      benchmark: name of the benchmark whose ID training set is used.
      image_size: side of the benchmark's images, in pixels.
      model: name of the network.
      epochs: passes over the training set.
      batch_size: images per step, over all devices.
      learning_rate: peak, reached after warm-up.
      schedule: 'cosine' (to 0) or 'step' (times 0.1 at each of `decay_epochs`).
      warmup_epochs: linear warm-up from 0.
      decay_epochs: for 'step'.
      momentum: of SGD, with Nesterov's form.
      weight_decay: added to the gradient of convolutions' and linear weights
        (not of biases and BatchNorm).
      dtype: compute type, 'float32' or 'bfloat16'; parameters stay float32.
      seed: decides the initial parameters and the order of the data.
    """

    benchmark: str = "digits"
    image_size: int = 32
    model: str = "resnet_small"
    epochs: int = 16
    batch_size: int = 128
    learning_rate: float = 0.1
    schedule: str = "cosine"
    warmup_epochs: float = 1.0
    decay_epochs: tuple[float, ...] = ()
    momentum: float = 0.9
    weight_decay: float = 5e-4
    dtype: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        problems = []
        for name in ("epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                problems.append(f"{name} must be above 0, got {getattr(self, name)!r}")
        for name in ("warmup_epochs", "weight_decay", "seed"):
            if not getattr(self, name) >= 0:
                problems.append(f"{name} must be >= 0, got {getattr(self, name)!r}")
        if not 0 <= self.momentum < 1:
            problems.append(f"momentum must be in [0, 1), got {self.momentum!r}")
        for name, choices in (("schedule", SCHEDULES), ("dtype", DTYPES)):
            if getattr(self, name) not in choices:
                problems.append(
                    f"{name} must be one of {', '.join(choices)}, "
                    f"got {getattr(self, name)!r}"
                )
        if (self.schedule == "step") != bool(self.decay_epochs):
            problems.append(
                "decay_epochs go with schedule='step', which needs at least one; got "
                f"{self.schedule!r} and {self.decay_epochs}"
            )
        if self.warmup_epochs > self.epochs:
            problems.append(
                f"warmup_epochs must be <= epochs = {self.epochs}, "
                f"got {self.warmup_epochs}"
            )
        if problems:
            raise ValueError("; ".join(problems) + ".")

    def as_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        fields = dataclasses.asdict(self)
        return {**fields, "decay_epochs": list(self.decay_epochs)}


def learning_rate_schedule(config: TrainConfig, steps_per_epoch: int) -> optax.Schedule:
    """Returns step -> learning rate."""
    warmup = round(config.warmup_epochs * steps_per_epoch)
    total = config.epochs * steps_per_epoch
    after: optax.Schedule
    if config.schedule == "cosine":
        after = optax.cosine_decay_schedule(
            config.learning_rate, max(total - warmup, 1)
        )
    else:
        boundaries = {
            round(epoch * steps_per_epoch) - warmup: 0.1
            for epoch in config.decay_epochs
        }
        after = optax.piecewise_constant_schedule(config.learning_rate, boundaries)
    rising = optax.linear_schedule(0.0, config.learning_rate, max(warmup, 1))
    return optax.join_schedules([rising, after], [warmup])
