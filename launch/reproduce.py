r"""Runs a table or draws a figure of one of the four papers, on your networks.

    jood reproduce --list
    jood reproduce --paper=himplos --list --checkpoint=networks/densenet
    jood reproduce --paper=himplos --table=1 --data_dir=data \
        --checkpoint=networks/densenet10,networks/densenet100 --output=results/himplos1
    jood reproduce --paper=feature_sim --table=2 --benchmark=cifar10 \
        --checkpoint=networks/resnet56 --data_dir=data --output=results/fs2
    jood reproduce --paper=feature_sim --figure=7 \
        --checkpoint=networks/resnet50 --id_images=bird.jpg --ood_images=moss.jpg \
        --output=results/fs_heatmaps

A table has the paper's numbers beside ours.
A folder of --checkpoint makes the rows of its architecture and classes; where that is
not enough, say which: cifar10/resnet34_cifar+lff=runs/lff (--list names them). What
cannot be run is a dash with its reason. jood prepare gets the data.
"""

from collections.abc import Sequence

from absl import flags

from jood import cli
from jood import papers
from jood._utils import atomic_files
from jood.data import benchmarks
from jood.data.benchmarks import bounded
from jood.papers import at_hand
from jood.papers import comparison_text
from jood.papers import figures
from jood.papers import given_networks
from jood.papers import reproduction
from jood.papers import results
from jood.papers.figures import results as figure_results
from jood.papers.given_networks import Given
from jood.papers.transcription import TablePart
from jood.weights.checkpoint import TrainedNetwork

_PAPER = flags.DEFINE_enum(
    "paper", None, papers.PAPERS, "Paper of the table or figure."
)
_TABLE = flags.DEFINE_string("table", None, "Its number, such as 1 or 18.")
_FIGURE = flags.DEFINE_string("figure", None, "Its number, in place of --table.")
_ID_IMAGES = flags.DEFINE_list(
    "id_images", [], "Image files that a figure shows as ID, with commas."
)
_OOD_IMAGES = flags.DEFINE_list(
    "ood_images", [], "Image files that a figure shows as OOD, with commas."
)
_LIST = flags.DEFINE_bool(
    "list", False, "Say what can run with the networks and data at hand, and stop."
)
_CHECKPOINT = flags.DEFINE_list(
    "checkpoint",
    [],
    "Folders of networks, of jood convert or jood train, with commas; each "
    "perhaps named: NAME=FOLDER.",
)
_WHICH = cli.define_which()
_OUTPUT = cli.define_output(required=False)
_BENCHMARK = cli.define_benchmark(
    help="Run the table on this benchmark in place of its own; then the numbers are "
    "shown without differences."
)
_DATA_DIR = cli.define_data_dir()
_CORRUPT = cli.define_corrupt()
_WORKERS = cli.define_workers()
_ROWS = flags.DEFINE_list(
    "rows",
    [],
    "Names of the rows to run, with commas, as the paper has them; else all.",
)
_IMAGES = flags.DEFINE_integer(
    "images",
    None,
    "Images per test set, at even distances, for a first look; else all.",
    lower_bound=2,
)
_FIT_IMAGES = flags.DEFINE_integer(
    "fit_images",
    None,
    "ID training images to fit on, at even distances; else all.",
    lower_bound=2,
)
_BATCH_SIZE = cli.define_batch_size()
_DRY_RUN = cli.define_dry_run()


def main(argv: list[str]) -> None:
    """Runs a table, or lists what could run."""
    del argv
    if _LIST.value:
        for paper in [_PAPER.value] if _PAPER.value else papers.PAPERS:
            print(_listed(paper))
        return
    if _PAPER.value is None or (_TABLE.value is None) == (_FIGURE.value is None):
        raise ValueError(
            "give --paper and either --table or --figure, or --list to see what there "
            "is."
        )
    if _TABLE.value is None:
        _draw(_PAPER.value, str(_FIGURE.value))
        return
    table = papers.of_rows(papers.table(_PAPER.value, _TABLE.value), _ROWS.value)
    given = given_networks.open_all(_CHECKPOINT.value, table, _WHICH.value)
    makers = given_networks.makers(table, given, _BENCHMARK.value)
    if not makers:
        names = ", ".join(one.network.name for one in given) or "none"
        raise ValueError(
            f"no network for {table.paper}, Table {table.number}: given {names}; it "
            f"asks for {', '.join(given_networks.keys(table))}. A network of another "
            "architecture is taken, and marked, if its classes are the benchmark's."
        )
    if _OUTPUT.value is None:
        raise ValueError("give --output, a new folder for the results.")
    atomic_files.check_new(_OUTPUT.value)
    if _DRY_RUN.value:
        cli.would(
            *(f"make {key} with {maker.given.folder}" for key, maker in makers.items()),
            f"write {_OUTPUT.value}",
        )
        return
    parts = reproduction.run(
        table,
        given,
        _open_benchmark,
        other=_BENCHMARK.value,
        batch_size=_BATCH_SIZE.value,
        workers=_WORKERS.value,
    )
    configuration = cli.flag_values(without=["output", "list"])
    print(results.write(_OUTPUT.value, table, parts, configuration))
    print(f"written to {_OUTPUT.value}")


def _draw(paper: str, number: str) -> None:
    """Draws a figure."""
    wanted = figures.figure(paper, number)
    assert wanted.draw is not None  # `figure` refuses others
    networks = given_networks.labelled(_CHECKPOINT.value, _WHICH.value)
    name = _BENCHMARK.value or given_networks.benchmark_of(networks, wanted.benchmarks)
    if _OUTPUT.value is None:
        raise ValueError("give --output, a new folder for the figure.")
    atomic_files.check_new(_OUTPUT.value)
    files = {"ID": _ID_IMAGES.value, "OOD": _OOD_IMAGES.value}
    if _DRY_RUN.value:
        cli.would(
            f"draw {wanted.title} with {', '.join(networks)} on {name}",
            f"write {_OUTPUT.value}",
        )
        return
    inputs = figures.FigureInputs(
        networks,
        name,
        lambda network: _opened(name, network),
        files,
        _BATCH_SIZE.value,
        _WORKERS.value,
    )
    pictures = wanted.draw(inputs)
    listed = ", ".join(
        one.name if one.name == label else f"{one.name} ({label})"
        for label, one in networks.items()
    )
    most = {"of each test set": _IMAGES.value, "to fit on": _FIT_IMAGES.value}
    part = [f"at most {count:,} images {what}" for what, count in most.items() if count]
    remarks = f"{', '.join([f'{listed} on {name}', *part])}."
    title = f"{comparison_text.paper_name(paper)}, Figure {number}: {wanted.title}"
    configuration = cli.flag_values(without=["output", "list"])
    run = (title, wanted, pictures, remarks, configuration)
    atomic_files.kept(lambda path: figure_results.write(path, *run), _OUTPUT.value)
    print(f"{title}\n{', '.join(pictures)}: written to {_OUTPUT.value}")


def _open_benchmark(part: TablePart, given: Given, zoom: float) -> benchmarks.Benchmark:
    name = _BENCHMARK.value or part.benchmark
    ood = None if _BENCHMARK.value else at_hand.ood_sets(part)
    return _opened(name, given.network, ood, zoom)


def _opened(
    name: str,
    network: TrainedNetwork,
    ood: Sequence[str] | None = None,
    zoom: float = 1.0,
) -> benchmarks.Benchmark:
    opened = benchmarks.get(
        name,
        data_dir=_DATA_DIR.value,
        image_size=network.image_size,
        preprocessing=network.preprocessing,
        ood=ood,
        ood_zoom=zoom,
        skip_corrupt=_CORRUPT.value == "skip",
    )
    return bounded.with_at_most(opened, _IMAGES.value, _FIT_IMAGES.value)


def _listed(paper: str) -> str:
    lines = [f"{paper}:"]
    for table in papers.tables(paper).values():
        given = given_networks.open_all(_CHECKPOINT.value, table, _WHICH.value)
        needed = at_hand.needs(table, given, _DATA_DIR.value)
        lines.append(at_hand.line(table, needed))
    lines += [figures.line(one) for one in figures.of_paper(paper).values()]
    return "\n".join(lines)


if __name__ == "__main__":
    cli.run(main)
