"""What the command-line jobs share: flags, quiet logs, clear errors, --help."""

from collections.abc import Callable, Collection, Mapping, Sequence
import dataclasses
import functools
import io
import logging
import sys
from typing import Any

from absl import app
from absl import flags
from absl import logging as absl_logging
from tqdm.contrib import logging as tqdm_logging

from jood import extensions
from jood import models
from jood._utils import flag_help
from jood._utils import processes
from jood._utils import stop_signals
from jood._utils import unknown_name
from jood.core import compose
from jood.data import benchmarks
from jood.data.benchmarks import on_disk
from jood.methods import detector_list
from jood.methods import paper_values
from jood.methods import presets
from jood.methods import value_sources
from jood.methods.detector_list import Row
from jood.training.preemption import StoppedError
from jood.weights import checkpoint
from jood.weights import run_checkpoint

GROUPS = ("default", "all", "forward")  # of detectors, by what --detectors takes
# What a user can mend; anything else keeps its traceback.
_USER_ERRORS = (ValueError, FloatingPointError, OSError)

flags.disclaim_key_flags()  # a flag that is defined here is one of the calling job


def run(main: Callable[[list[str]], Any], arguments: str = "") -> None:
    """Runs a job that takes flags, and `arguments` in words; a user's error exits 1."""

    def wrapped(argv: list[str]) -> None:
        if (len(argv) > 1) != bool(arguments):
            raise app.UsageError(f"expected {arguments or 'flags'}, got {argv[1:]}.")
        if not absl_logging.level_debug():
            absl_logging.set_verbosity(absl_logging.WARNING)  # Orbax logs a lot
        logger = logging.getLogger("jood")
        logger.addHandler(logging.StreamHandler(sys.stderr))
        logger.setLevel(logging.INFO)
        logger.propagate = False  # absl's handler would print every line again
        for stream in (sys.stdout, sys.stderr):  # names of files need not be Unicode
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            with (
                stop_signals.ending(),
                tqdm_logging.logging_redirect_tqdm([logger]),
            ):
                main(argv)
        except _USER_ERRORS as error:
            if absl_logging.level_debug():
                raise
            hint = "(--verbosity=1 shows where it was raised)"
            processes.leave(f"error: {error}\n{hint}")
        except StoppedError as stopped:
            print(stopped)

    flags.DEFINE_list(
        "plugins",
        [],
        "Modules or .py files to import first, whose methods, benchmarks, models, ... "
        "(jood.register) the other flags may then name.",
    )
    # --helpfull is absl's own, and long.
    if {"--help", "-h", "-help", "--helpshort"} & set(sys.argv[1:]):
        docstring = sys.modules[main.__module__].__doc__ or ""
        flag_help.show(docstring, _flags())
        return
    try:
        extensions.load_named(flags.FLAGS.read_flags_from_files(sys.argv[1:]))
    except flags.Error:
        pass  # absl says what is wrong with the file
    except _USER_ERRORS as error:
        sys.exit(f"error: --plugins: {error}")
    app.run(wrapped)


def _shared(
    define: Any, name: str, help: str, default: Any = None, **options: Any
) -> Any:
    """Returns a function that defines a flag; a job may change its help or default."""
    return functools.partial(define, name=name, default=default, help=help, **options)


_string = functools.partial(_shared, flags.DEFINE_string)
_integer = functools.partial(_shared, flags.DEFINE_integer, lower_bound=0)
_enum = functools.partial(_shared, flags.DEFINE_enum)
define_output = _string("output", "New folder for the results.", required=True)
define_data_dir = _string("data_dir", "Folder of the data sets; else JOOD_DATA_DIR.")
define_checkpoint = _string(
    "checkpoint",
    "Folder of a network: --output of jood convert, or --workdir of jood train.",
)
define_cache = _string(
    "cache",
    "Folder that keeps training features for later runs; else they are not kept.",
)
define_compilation_cache = _string(
    "compilation_cache",
    "Folder of your own that keeps compiled programs, so that the next start need not "
    "compile them.",
)
define_ood = _shared(
    flags.DEFINE_list, "ood", "OOD sets to score; else all that are present."
)
define_which = _enum(
    "which",
    "Checkpoint of a training run: the last one, or the best on its validation.",
    "last",
    enum_values=run_checkpoint.WHICH,
)
define_corrupt = _enum(
    "corrupt",
    "Action on images that cannot be read: stop, or skip and count them.",
    "raise",
    enum_values=("raise", "skip"),
)
define_workers = _integer(
    "workers", "Processes that read images; 0 reads with threads.", 0
)
define_batch_size = _integer(
    "batch_size", "Images per step, over all devices.", 128, lower_bound=1
)
define_paper = _enum(
    "paper",
    "Paper whose values win for the methods that it compares with (feature_sim: "
    "KNN's k = 1000); else those of each method's own paper.",
    "",
    enum_values=["", *paper_values.PAPERS],
)
define_seed = _integer("seed", "Seed of everything that is random.", 0)
define_dry_run = _shared(
    flags.DEFINE_bool,
    "dry_run",
    "Check the flags, print what the job would do, and stop.",
    False,
)


def define_benchmark(
    default: str | None = None,
    help: str = "Benchmark to score; else the one that the network was trained on.",
    names: Callable[[], Sequence[str]] = benchmarks.names,
) -> flags.FlagHolder[Any]:
    """Defines --benchmark, one of `names()` at the time when flags are parsed."""
    return _define_name("benchmark", default, help, names)


def define_model(default: str | None, help: str) -> flags.FlagHolder[Any]:
    """Defines --model, one of `models.names()` at the time when flags are parsed."""
    return _define_name("model", default, help, models.names)


def define_detectors(default: str = "default") -> flags.FlagHolder[str]:
    """Defines --detectors and checks its text as soon as flags are parsed."""
    holder = flags.DEFINE_string(
        "detectors",
        default,
        "Detectors to compare, separated by commas: rows of the quickstart's table "
        "(MSP, ash-s, FS+TA (median)), presets such as fs_ta_ash, texts such as "
        "'react(q=0.9)|energy()', each perhaps named "
        "(mine=ta(k=0.1)|msp()); 'default' for the quickstart's table; 'all' for "
        "every method; 'forward' for those that need neither gradients nor other "
        "images than the given ones, and so a fraction of the time.",
    )

    def readable(text: str) -> bool:
        try:
            rows = detectors(text, presets.DEFAULT)
            compose.bundle(**{name: row.component for name, row in rows.items()})
        except ValueError as error:
            raise flags.ValidationError(str(error)) from None
        return True

    flags.register_validator("detectors", readable)
    return holder


def _define_name(
    flag: str, default: str | None, help: str, names: Callable[[], Sequence[str]]
) -> flags.FlagHolder[Any]:
    """Defines a flag whose value is a registered name, also of a plugin."""
    holder = flags.DEFINE_string(flag, default, help)

    def known(name: str | None) -> bool:
        if name is not None and name not in names():
            raise flags.ValidationError(str(unknown_name.unknown(flag, name, names())))
        return True

    flags.register_validator(flag, known)
    return holder


def detectors(
    text: str, benchmark: str, backbone: str = "", paper: str = ""
) -> dict[str, Row]:
    """Reads --detectors by row name; see `detector_list.read` for whose values."""
    names = presets.TABLE if text == "default" else presets.templates()
    entries = {n: n for n in names} if text in GROUPS else detector_list.split(text)
    found = detector_list.read_each(entries, benchmark, backbone, paper)
    if text == "forward":  # looks at the given images only, and only forward
        return {n: row for n, row in found.items() if not row.component.needs_network}
    return found


def described(rows: Mapping[str, Row]) -> list[str]:
    """Returns two lines per detector: its full text, and where its values come from."""
    lines = []
    for name, row in rows.items():
        lines.append(f"  {name}: {row.component.spec}")
        if row.sources:
            lines.append(f"    values: {value_sources.written(row.sources)}")
    return lines


def would(*lines: str) -> None:
    """Prints what a job would do."""
    print("dry run, nothing is written. It would:", *lines, sep="\n  ")


def numbers(flag: str, texts: Sequence[str]) -> tuple[float, ...]:
    """Returns the values of a list flag as numbers; raises ValueError if one is not."""
    try:
        return tuple(map(float, texts))
    except ValueError:
        raise ValueError(
            f"--{flag} must be numbers separated by commas, got {','.join(texts)!r}."
        ) from None


def benchmark_name(
    asked: str | None, source: Mapping[str, Any], checkpoint: str
) -> str:
    """Returns --benchmark (`asked`), or what the network was trained on.

    `source` is its `TrainedNetwork.source`, `checkpoint` its folder for the message.

    Raises:
      ValueError: neither names a benchmark.
    """
    name = asked or source.get("benchmark")
    if name is None:
        raise ValueError(
            f"{checkpoint} was converted, so it does not say what to score: give "
            f"--benchmark, one of {', '.join(benchmarks.names())}; or, to jood "
            "evaluate, your own folders: --images and --validation."
        )
    return name


def flag_values(without: Collection[str] = ()) -> dict[str, Any]:
    """Returns the values of the job's flags by name, without --dry_run and others."""
    left_out = ("dry_run", *without)
    return {flag.name: flag.value for flag in _flags() if flag.name not in left_out}


def data_origin(benchmark: str, data_dir: str | None) -> dict[str, str]:
    """Returns the folder of a benchmark's data, if it reads any, and who named it."""
    reads = benchmark in benchmarks.names() and not benchmarks.is_embedded(benchmark)
    return on_disk.origin(data_dir) if reads else {}


def evaluation_configuration(
    benchmark: benchmarks.Benchmark,
    network: checkpoint.TrainedNetwork,
    *others: checkpoint.TrainedNetwork,
) -> dict[str, Any]:
    """Returns the job's flags with what they resolved to, for the results' record.

    'trained' is the source of the network, a list of them where there are others.
    """
    sources = [dict(one.source) for one in (network, *others)]
    values = flag_values(without=["output"])
    return {
        **values,
        **data_origin(benchmark.name, values["data_dir"]),
        "benchmark": benchmark.name,
        "ood": list(benchmark.ood),
        "model": network.name,
        "image_size": benchmark.image_size,
        "preprocessing": dataclasses.asdict(benchmark.preprocessing),
        "trained": sources if others else sources[0],
    }


def _flags() -> Sequence[Any]:
    """The flags of the job itself, those that it defines with this module included."""
    return flags.FLAGS.get_key_flags_for_module(sys.argv[0])
