"""What the command-line jobs share: quiet logs, clear errors, flags for detectors."""

from collections.abc import Callable, Mapping, Sequence
import logging
import sys
from typing import Any

from absl import app
from absl import flags
from absl import logging as absl_logging
from tqdm.contrib import logging as tqdm_logging

from jood import compose
from jood import job_help
from jood import presets
from jood import spec
from jood.data import benchmarks
from jood.perturbation import NETWORK
from jood.training import processes
from jood.training.stopping import StoppedError

GROUPS = ("default", "all", "forward")  # of detectors, by what --detectors takes
# What a user can mend; anything else keeps its traceback.
_USER_ERRORS = (ValueError, FloatingPointError, OSError)


def run(main: Callable[[list[str]], Any]) -> None:
    """Runs a job: parses flags, then prints user errors as one message, exit code 1."""

    def wrapped(argv: list[str]) -> None:
        if len(argv) > 1:
            raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
        if not absl_logging.level_debug():
            absl_logging.set_verbosity(absl_logging.WARNING)  # Orbax tells a lot
        logger = logging.getLogger("jood")
        logger.addHandler(logging.StreamHandler(sys.stderr))
        logger.setLevel(logging.INFO)
        logger.propagate = False  # absl's handler would print every line again
        try:
            with tqdm_logging.logging_redirect_tqdm([logger]):
                main(argv)
        except _USER_ERRORS as error:
            if absl_logging.level_debug():
                raise
            processes.leave(
                f"error: {error}\n(--verbosity=1 shows where it was raised)"
            )
        except StoppedError as stopped:
            print(stopped)
        except KeyboardInterrupt:
            sys.exit("interrupted; nothing is half-written.")

    if job_help.asked(sys.argv[1:]):
        docstring = sys.modules[main.__module__].__doc__ or ""
        print(job_help.text(docstring, sys.argv[0]))
        return
    app.run(wrapped)


def define_dry_run() -> flags.FlagHolder[bool]:
    """Defines --dry_run, with which a job checks its flags and writes nothing."""
    # A flag of this module, so that it is no part of a job's configuration.
    return flags.DEFINE_bool(
        "dry_run", False, "Check the flags, tell what would be done, and stop."
    )


def would(*lines: str) -> None:
    """Prints what a job would do."""
    print("dry run, nothing is written. It would:")
    for line in lines:
        print(f"  {line}")


def numbers(flag: str, texts: Sequence[str]) -> tuple[float, ...]:
    """Returns the values of a list flag as numbers.

    Raises:
      ValueError: one of them is none.
    """
    try:
        return tuple(float(text) for text in texts)
    except ValueError:
        raise ValueError(
            f"--{flag} must be numbers separated by commas, got {','.join(texts)!r}."
        ) from None


def benchmark_name(
    asked: str | None, source: Mapping[str, Any], checkpoint: str
) -> str:
    """Returns --benchmark, or what a network says that it was trained on.

    Args:
      asked: the flag's value.
      source: of the network.
      checkpoint: its folder, for the message.

    Raises:
      ValueError: neither says one.
    """
    name = asked or source.get("benchmark")
    if name is None:
        raise ValueError(
            f"{checkpoint} was converted, so it does not say what to score: "
            f"give --benchmark, one of {', '.join(benchmarks.names())}."
        )
    return name


def flag_values() -> dict[str, Any]:
    """Returns the values of the job's own flags by name."""
    found = flags.FLAGS.get_key_flags_for_module(sys.argv[0])
    return {flag.name: flag.value for flag in found}


def define_detectors() -> flags.FlagHolder[str]:
    """Defines --detectors and checks its text as soon as flags are parsed."""
    holder = flags.DEFINE_string(
        "detectors",
        "default",
        "Detectors to compare, separated by commas: texts such as "
        "'react(q=0.9)|energy()', presets such as fs_ta_ash, each perhaps named "
        "(mine=ta(k=0.1)|msp()); 'default' for the table of the README; 'all' for "
        "every method; 'forward' for those that need no gradient, nor other images "
        "than the given ones, and so a fraction of the time.",
    )

    def readable(text: str) -> bool:
        try:
            parts = detectors(text, presets.DEFAULT)
            compose.bundle(**{name: spec.parse(part) for name, part in parts.items()})
        except ValueError as error:
            raise flags.ValidationError(str(error)) from None
        return True

    flags.register_validator("detectors", readable)
    return holder


def detectors(text: str, benchmark: str, backbone: str = "") -> dict[str, str]:
    """Returns the texts of --detectors by row name."""
    if text == "default":
        return presets.table(benchmark, backbone)
    if text not in ("all", "forward"):
        return spec.split(text)
    rows = presets.everything(benchmark, backbone)
    return rows if text == "all" else {n: t for n, t in rows.items() if _forward(t)}


def _forward(text: str) -> bool:
    """Whether a detector looks at the given images only, and only forward."""
    return all(NETWORK not in path for path in spec.parse(text).edits)
