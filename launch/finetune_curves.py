r"""Draws what an objective's values do, from runs of jood finetune: LFF's Fig. 6.

    for mu in 0.5 1 2; do
      jood finetune --objective="lff(mu=$mu)" --workdir=runs/lff
    done
    jood finetune_curves --workdir=runs/lff --output=runs/lff_curves

Each set of runs that differ in one value alone gives a curve of that value, whatever
their other values are. Writes sweeps.csv, a picture per curve and
report.html.
"""

from absl import flags

from jood import cli
from jood._utils import atomic_files
from jood.data import benchmarks
from jood.evaluation.paper_sweeps import value_text
from jood.report.finetuning import curves as curves_lib
from jood.report.hyperparameters import results
from jood.training import objectives

_WORKDIR = flags.DEFINE_string("workdir", None, "That of jood finetune.", required=True)
_OBJECTIVE = flags.DEFINE_string(
    "objective",
    "lff",
    f"Objective whose values to draw: {', '.join(objectives.names())}.",
)
_OUTPUT = cli.define_output()
_DRY_RUN = cli.define_dry_run()


def main(argv: list[str]) -> None:
    """Reads the runs and writes the curves."""
    del argv
    atomic_files.check_new(_OUTPUT.value)
    runs = curves_lib.read(_WORKDIR.value, _OBJECTIVE.value)
    curves = curves_lib.per_value(runs, _OBJECTIVE.value)
    if not curves:
        raise ValueError(
            f"no two of the {len(runs)} runs in {_WORKDIR.value} differ in one value "
            f"alone: {'; '.join(run.text for run in runs)}. Run jood finetune "
            "with one of their values changed."
        )
    values = [
        f"{curve.sweep.title}: {', '.join(map(value_text, curve.sweep.values))}"
        for curve in curves
    ]
    if _DRY_RUN.value:
        cli.would(*(f"draw {line}" for line in values), f"write {_OUTPUT.value}")
        return
    configuration = dict(runs[0].summary["configuration"])
    configuration["objective"] = _OBJECTIVE.value
    described = benchmarks.describe(configuration["benchmark"])
    results.write(
        _OUTPUT.value,
        curves,
        name=described.name,
        protocol=described.protocol,
        configuration=configuration,
    )
    print("\n".join(values))
    print(f"written to {_OUTPUT.value}")


if __name__ == "__main__":
    cli.run(main)
