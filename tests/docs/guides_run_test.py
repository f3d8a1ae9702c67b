"""Every command of the README and the guides runs here, by another check, or is listed.

The commands of a page run in its order, in a folder that holds what the page takes for
granted. Those that would take long run dry.
"""

import os
import re

from helpers import commands
from helpers import guide_world
from helpers.jobs import ROOT
from helpers.jobs import run_job
import pytest

from jood import __main__ as command

# CONTRIBUTING's commands are .ci/run's; those of notebooks are run with them.
GUIDES = {
    str(page.relative_to(ROOT)): page.read_text()
    for page in commands.PAGES
    if page.name != "CONTRIBUTING.md" and page.parent.name != "colabs"
}
FOLDERS_PAGE = "docs/folders.md"  # tests/docs/folders_test.py runs all of it
MEASURING = (ROOT / "tests" / "launch" / "measuring_test.py").read_text()
# Beginnings of commands that are not run here, and why.
NOT_HERE = {
    # What other checks run.
    "quickstart$": ".ci/run does, as the README's command",
    "cite ": "references_test.py",
    "convert --weights=ViT-B_16.npz": "vit_finetuning_test.py does, with a tiny ViT",
    "train --flagfile=recipe:fort_": "ImageNet; vit_finetuning_test.py, on digits",
    "evaluate --checkpoint=runs/fort": "ImageNet; vit_finetuning_test.py, on digits",
    # What no machine of ours can do.
    "score_ray --address=auto": "a Ray cluster of 64 GPUs",
    "train --cluster": "a SLURM cluster or a TPU pod, with ImageNet",
    "prepare --benchmark=cifar10 --data_dir=data$": "a download of CIFAR-10",
    "evaluate --checkpoint=networks/lite0": "photographs sorted into even and odd",
    # What stands in prose as the flag of another command.
    "prepare --check$": "a flag",
    "prepare --benchmark=NAME": "NAME is any benchmark",
    "finetune --checkpoint$": "a flag",
    "fit --thresholds": "a flag",
    "score --fdr": "a flag",
    "evaluate --help$": "job_help_test.py does, for every job",
    "evaluate --which": "a flag",
    "score_ray --price_per_hour": "a flag",
}
# Beginnings of lines that start none of jood's jobs, and what runs them.
OTHER_LINES = {
    "#": "nothing: a comment",
    "for ": "the shell; its lines are run for each word",
    "done": "the shell",
    "python3 -m venv": ".ci/run, in fresh environments",
    "pip install": ".ci/run, which installs every extra",
    "python docs/make_demo_photographs.py": "guide_world.py calls it",
    "python docs/make_demo_calibration.py": "nobody: 1,000 photographs, a long time",
    "python docs/make_scaling.py": "scaling_page_test.py compares what it gives",
    "python docs/make_results.py": "results_test.py compares what it gives",
    "JOOD_GOLDEN=golden python docs/make_peers.py": "peers_test.py calls it",
    "python detector.zip": "exporting_test.py runs such a file",
    "unzip detector.zip": "exporting_test.py extracts the loader",
    "curl --data-binary": "export_and_serve_test.py sends a request",
    "ray start": "nobody: a cluster",
}
# Small networks in the place of large ones, whose weights nobody here has, and what is
# meant by words that stand for something.
INSTEAD = {
    "--model=clip_vit_b16": "--model=clip_small",
    "--model=clip_vit_l14": "--model=clip_small",
    "--model=resnet18_cifar": "--model=resnet_small",
    "--objective=OBJECTIVE": "--objective=lff",
    "--weights=WEIGHTS": f"--weights={guide_world.imagenet_weights()}",
    "--class_names=jood/deploy/demo/imagenet_classes.txt": (
        f"--class_names={ROOT}/jood/deploy/demo/imagenet_classes.txt"
    ),
}
# Jobs that run dry, whatever their flags; `evaluate` and `reproduce` on real sets do.
LONG = ("train", "finetune", "quickstart", "serve", "score_ray", "demo")
DRY = "dry run, nothing is written. It would:"


def _begins(job, arguments, text):
    line = " ".join([job, *arguments])
    return line == text[:-1] if text.endswith("$") else line.startswith(text)


def _is_dry(job, arguments):
    if {"--list", "--check"} & {*arguments}:
        return False
    on_real_sets = "--data_dir=data" in arguments or "--checkpoint=runs/a" in arguments
    return job in LONG or (job in ("evaluate", "reproduce") and on_real_sets)


def _here():
    """The (job, arguments) that are run here, by page; a dry one once for all pages."""
    found, dry = {}, []
    for page, text in GUIDES.items():
        for job, arguments in commands.of_guide(text):
            listed = any(_begins(job, arguments, start) for start in NOT_HERE)
            if listed or job.startswith("measure_") or page == FOLDERS_PAGE:
                continue
            if _is_dry(job, arguments):
                if (job, arguments) in dry:
                    continue
                dry.append((job, arguments))
            found.setdefault(page, []).append((job, arguments))
    return found


HERE = _here()


def _output(arguments):
    """The folder or file that a command writes; None if it names none."""
    found = [a.split("=")[1] for a in arguments if re.match("--(output|workdir)=", a)]
    return found[0] if found else None


def _run(job, arguments, place):
    """Runs a command in a workspace, and checks what it prints and writes."""
    dry, output = _is_dry(job, arguments), _output(arguments)
    given = [command.with_recipe(INSTEAD.get(a, a)) for a in arguments]
    given = [os.path.expandvars(a).replace("~", str(place)) for a in given]
    printed = run_job(job, *given, *(["--dry_run"] if dry else []), cwd=place)
    assert (DRY in printed) == dry, printed
    if output and dry and job != "serve":
        assert output in printed.partition(DRY)[2], printed
        told = f"data_dir: {place / 'data'}\n" in printed
        assert told == (job == "evaluate" and "--data_dir=data" in given), printed
    elif output and not dry:
        assert (place / output).exists()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return guide_world.build(tmp_path_factory.mktemp("guides") / "world")


@pytest.mark.slow
@pytest.mark.parametrize("page", HERE)
def test_the_commands_of_a_page_run_in_its_order(page, world, tmp_path):
    place, skipped = tmp_path / "workspace", []
    written = [
        _output(a) for job, a in HERE[page] if not _is_dry(job, a) and _output(a)
    ]
    guide_world.copy(world, place, without=written)
    for job, arguments in HERE[page]:
        lacking = guide_world.missing(job, arguments)
        if lacking:
            skipped.append(f"{job} {' '.join(arguments)}: {lacking}")
        else:
            _run(job, arguments, place)
    if skipped:
        pytest.skip("; ".join(skipped))


def test_every_command_is_run_or_listed():
    ran = [asked for commands_of_page in HERE.values() for asked in commands_of_page]
    for page, text in GUIDES.items():
        for job, arguments in commands.of_guide(text):
            listed = [start for start in NOT_HERE if _begins(job, arguments, start)]
            measures = [job] if job.startswith("measure_") else []
            here = [job] if (job, arguments) in ran or page == FOLDERS_PAGE else []
            assert len([*listed, *measures, *here]) == 1, (page, job, arguments)


def test_commands_stand_in_blocks_that_are_read():
    for page, text in GUIDES.items():
        for kind, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.DOTALL):
            assert kind == "bash" or not re.search(r"^jood \w", block, re.M), page


def test_measuring_jobs_are_run_by_their_own_test():
    for text in GUIDES.values():
        for job, _ in commands.of_guide(text):
            name = job.removeprefix("measure_")
            if name != job:
                assert re.search(rf'(measure|run)\(\s*"{name}"', MEASURING), job


def test_what_is_listed_stands_on_a_page():
    found = [c for text in GUIDES.values() for c in commands.of_guide(text)]
    for text in NOT_HERE:
        assert any(_begins(job, arguments, text) for job, arguments in found), text
    assert {a for _, arguments in found for a in arguments} >= INSTEAD.keys()
    lines = [line for text in GUIDES.values() for line in commands.other_lines(text)]
    for line in lines:
        assert line.startswith(tuple(OTHER_LINES)), line
    for beginning in OTHER_LINES:
        assert any(line.startswith(beginning) for line in lines), beginning
