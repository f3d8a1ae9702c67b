"""The training loop: a compiled step over a mesh, with logs, validation, checkpoints.

state = checkpoints.restore(...)        the newest whole one, or a new one
for batch in batches[state.step:]:
    state, metrics = step(state, batch)
    when due: log (a loss that is not finite ends the run), validate, save
"""

from collections.abc import Callable, Mapping
import contextlib
import dataclasses
import logging
import os
import pathlib
import threading
from typing import Any

from flax import linen as nn
import jax

from jood._utils import processes
from jood._utils import progress
from jood._utils import sharding
from jood.evaluation import preflight
from jood.models import check
from jood.training import agreement
from jood.training import augmentation
from jood.training import batches
from jood.training import metric_logs
from jood.training import objectives
from jood.training import optimizer as optimizer_lib
from jood.training import preemption
from jood.training import run_folder
from jood.training import start_network
from jood.training import state as state_lib
from jood.training import step as step_lib
from jood.training import switching_off
from jood.training.checkpoints import Checkpoints
from jood.training.config import TrainConfig
from jood.training.data import TrainingData
from jood.training.periodic import LoopOptions
from jood.training.periodic import Plan
from jood.training.step_metrics import Metrics
from jood.training.step_metrics import Window
from jood.weights import checkpoint

_LOGGER = logging.getLogger(__name__)
_AGREE_EVERY = 50  # steps after which processes ask each other for a SIGTERM

Validate = Callable[[Mapping[str, Any]], Mapping[str, float]]


def train(
    config: TrainConfig,
    data: TrainingData,
    model: nn.Module,
    folder: str | os.PathLike[str],
    *,
    variables: Mapping[str, Any] | None = None,
    validate: Validate | None = None,
    keeping: LoopOptions | None = None,
) -> dict[str, Any]:
    """Trains a model, or resumes the run in the folder where it stopped.

    Args:
      config: The run's configuration.
      data: Images to train and validate on.
      model: The network.
      folder: The run's folder; a run of the same configuration in it is resumed.
      variables: The network to begin with; None for `config.init_from`, or random ones.
      validate: (variables on the mesh) -> metrics; see `validation.Validation`.
      keeping: Intervals of logs, validations and checkpoints; by default each epoch.

    Returns:
      The trained variables as NumPy arrays, with what the objective adds.

    Raises:
      StoppedError: SIGTERM came; the state after the current step is saved.
      FileNotFoundError: There is no network in `config.init_from`.
      ValueError: The folder is another run's; or configuration, network, data and
        devices do not fit.
      FloatingPointError: The loss, its gradient or a parameter is not finite, and no
        such state is ever saved; or the network is switching off.
      OSError: The folder cannot be written.
    """
    keeping = keeping or LoopOptions()
    agreement.check(config, data, model)
    per_epoch = max(len(data.train) // config.batch_size, 1)
    plan = Plan(per_epoch, config.epochs * per_epoch, keeping)
    mesh = sharding.data_mesh()
    variables = _initial_variables(config, data, model, variables)
    state, step = _begin(config, data, model, variables, plan, mesh)
    # What an objective refuses is reported before anything is written. The loop's first
    # step finds this trace again.
    step.trace(state, batches.shapes(config, data, mesh))
    settings = {
        **config.as_json(),
        "preprocessing": dataclasses.asdict(data.preprocessing),
        "class_names": data.class_names,
    }
    if (fields := agreement.architecture(config, data, model)) is not None:
        settings["architecture"] = fields
    position = {
        "examples": len(data.train),
        "classes": len(data.class_names),
        "batch_size": config.batch_size,
        "seed": config.seed,
    }
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(preemption.on_sigterm())
        checkpoints = stack.enter_context(
            Checkpoints(folder, settings, position, keeping.keep, keeping.best)
        )
        state = start_network.kept(folder, checkpoints.restore(state))
        start = int(state.step)
        if processes.is_first():
            run_folder.note_start(pathlib.Path(folder), start)
        if start:
            _LOGGER.info("continuing at step %d of %d", start, plan.total)
        log = stack.enter_context(metric_logs.Log(folder, start, processes.is_first()))
        bar = stack.enter_context(_progress_bar(config, plan, start))
        rate = optimizer_lib.learning_rate_schedule(config, per_epoch)
        window = Window(rate, config.batch_size, start)
        guard = switching_off.Guard(folder, start, per_epoch)
        stream = batches.read(config, data, plan, start, mesh)
        for index, batch in enumerate(stream, start=start + 1):
            state, metrics = step(state, batch)
            window.add(metrics)
            if index == start + 1:
                guard.begin(metrics)
            bar.update(config.batch_size)
            due = plan.due(index)
            asked = _asked(stop, due.log or index % _AGREE_EVERY == 0)
            if due.log or asked:
                values = window.values(checkpoints.last_good)
                log.write(metric_logs.TRAIN, index, values)
                bar.set_postfix(loss=f"{values['loss']:.3f}")
                guard.check(index, values, checkpoints.last_good)
                if index % per_epoch == 0 or asked:
                    _tell(f"epoch {index / per_epoch:g}/{config.epochs}", values)
            if index == per_epoch:  # whether or not a row of the log is due
                _advise(config, metrics)
            if not (due.save or asked):  # a validation is always saved, too
                continue
            if not state.is_finite():  # the loss was that before the update
                what = "a parameter is not finite"
                raise window.diverged(what, index, checkpoints.last_good())
            measured: Mapping[str, float] = {}
            if due.validate and validate is not None:
                measured = validate(state.variables)
                log.write(metric_logs.VALIDATION, index, measured)
                _tell("validation", measured)
            checkpoints.save(state, measured)
            window.resume()
            if asked and index < plan.total:
                checkpoints.wait()
                raise preemption.StoppedError(
                    f"stopped by SIGTERM after step {index} of {plan.total}, saved in "
                    f"{checkpoints.latest()}; the same command resumes there."
                )
    return sharding.gathered(state.variables, mesh)


def _initial_variables(
    config: TrainConfig,
    data: TrainingData,
    model: nn.Module,
    variables: Mapping[str, Any] | None,
) -> Mapping[str, Any] | None:
    """The variables that the configuration begins with; None for random weights."""
    if config.init_from and variables is None:
        network = checkpoint.open(config.init_from)
        agreement.check_preprocessing(config, data, network)
        if not config.new_head:
            preflight.check_classes(network.model, network.class_names, data)
        variables = network.variables
    if variables is None:
        return None
    if config.new_head:
        variables = state_lib.with_new_head(
            model, variables, data.image_shape, config.seed
        )
    where = config.init_from or "the network to begin with"
    check.check_variables(model, variables, data.image_shape, where)
    return variables


def _begin(
    config: TrainConfig,
    data: TrainingData,
    model: nn.Module,
    variables: Mapping[str, Any] | None,
    plan: Plan,
    mesh: jax.sharding.Mesh,
) -> tuple[state_lib.TrainState, jax.stages.Wrapped]:
    """The state before the first step, on the mesh, and the compiled step."""
    objective = objectives.parse(config.objective)
    start_network.check(objective, variables is not None and not config.new_head)
    optimizer = optimizer_lib.make_optimizer(config, plan.steps_per_epoch)
    strengths = (*config.jitter, config.jitter_probability)
    jitter = augmentation.Jitter._make(strengths)
    augment = augmentation.build(config.augment, data.image_size, jitter)
    state = state_lib.create_state(
        model, objective, optimizer, data.image_shape, config.seed, variables
    )
    step = step_lib.make_step(
        model,
        objective,
        optimizer,
        data.preprocessing,
        augment,
        config.accumulate,
        plan.steps_per_epoch,
    )
    shardings = jax.tree.map(lambda _: sharding.replicated(mesh), state)
    if plan.keeping.split_state:
        shardings = sharding.split(state, mesh)
    return jax.device_put(state, shardings), step_lib.compile_step(step, shardings)


def _asked(stop: threading.Event, together: bool) -> bool:
    """Whether to stop now; several processes decide together."""
    settled = together or jax.process_count() == 1
    return settled and processes.any_agree(stop.is_set())


def _advise(config: TrainConfig, metrics: Metrics) -> None:
    """Logs what an objective says of the first epoch's last step."""
    means = {name: float(part.mean) for name, part in jax.device_get(metrics).items()}
    text = objectives.parse(config.objective).advice(means, config.epochs)
    if text and processes.is_first():
        _LOGGER.warning(text)


def _progress_bar(config: TrainConfig, plan: Plan, start: int) -> Any:
    shows = processes.is_first() and plan.keeping.progress
    return progress.bar(
        f"{config.objective.split('(')[0]} {config.model} seed {config.seed}",
        plan.total * config.batch_size,
        initial=start * config.batch_size,
        disable=None if shows is None else not shows,
    )


def _tell(what: str, values: Mapping[str, float]) -> None:
    if processes.is_first():
        _LOGGER.info("  ".join([what, *(f"{k} {v:.4g}" for k, v in values.items())]))
