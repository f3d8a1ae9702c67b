"""What the command-line jobs share: quiet logs, clear errors, flags for detectors."""

from collections.abc import Callable, Mapping, Sequence
import inspect
import logging
import re
import shutil
import sys
import textwrap
from typing import Any

from absl import app
from absl import flags
from absl import logging as absl_logging
from tqdm.contrib import logging as tqdm_logging

from jood._utils import processes
from jood.core import compose
from jood.core.input_perturbation import NETWORK
from jood.data import benchmarks
from jood.methods import detector_text
from jood.methods import presets
from jood.training.preemption import StoppedError

GROUPS = ("default", "all", "forward")  # of detectors, by what --detectors takes
_WIDEST = 100  # columns of --help
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

    if _asks_for_help(sys.argv[1:]):
        docstring = sys.modules[main.__module__].__doc__ or ""
        print(job_help(docstring, sys.argv[0]))
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
            compose.bundle(
                **{name: detector_text.parse(part) for name, part in parts.items()}
            )
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
        return detector_text.split(text)
    rows = presets.everything(benchmark, backbone)
    return rows if text == "all" else {n: t for n, t in rows.items() if _forward(t)}


def _forward(text: str) -> bool:
    """Whether a detector looks at the given images only, and only forward."""
    return all(NETWORK not in path for path in detector_text.parse(text).edits)


def _asks_for_help(arguments: list[str]) -> bool:
    """Whether the arguments ask for help; `--helpfull` is absl's own, and long."""
    return any(one in ("--help", "-h", "-help", "--helpshort") for one in arguments)


def job_help(docstring: str, module: str) -> str:
    """Returns the help of a job.

    Args:
      docstring: of its module: what it does, and an example.
      module: the module's name, as absl knows it.
    """
    width = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST)
    found = list(flags.FLAGS.get_key_flags_for_module(module))
    if "dry_run" in flags.FLAGS:  # that of `jood.cli`
        found.append(flags.FLAGS["dry_run"])
    found.sort(key=lambda flag: flag.name)
    lines = [_flag_line(flag, width) for flag in found]
    return "\n".join(
        [
            inspect.cleandoc(docstring),
            "",
            "flags (--helpfull explains them at length; --flagfile=FILE reads them):",
            *lines,
        ]
    )


def _flag_line(flag: Any, width: int) -> str:
    default = (flag.default_as_str or "").strip("'")
    name = f"  --{flag.name}" + (f"={default}" if default else "")
    first = " ".join((flag.help or "").split())
    first = re.sub(r"^<[^>]{40,}>: ", "", first)  # absl lists an enum's values
    space = width - max(len(name), 30) - 2
    return f"{name:30}  {textwrap.shorten(first, max(space, 20), placeholder=' ...')}"
