"""Every command that a page, a job's help or a recipe shows has flags that parse."""

import json
import re
import subprocess
import sys

from helpers import commands
from helpers.jobs import ROOT
from helpers.jobs import environment
import pytest

from jood import __main__ as command

# Parses commands as their jobs would, without running them. Flags are global: those of
# one job are removed before the next is imported.
READER = """
import importlib, json, sys
from absl import flags
from jood import cli

flags.DEFINE_list("plugins", [], "As cli.run defines it.")
shared = set(flags.FLAGS)
wrong = []
sys.path.insert(0, sys.argv[1])
for job, asked in json.load(sys.stdin).items():
    importlib.import_module(job)
    for place, arguments in asked:
        for name in flags.FLAGS:
            flags.FLAGS[name].unparse()
        try:
            rest = flags.FLAGS([job, *arguments])[1:]
            if rest and job != "demo":  # which takes photographs
                raise ValueError(f"not flags: {rest}")
        except (flags.Error, ValueError) as error:
            wrong.append(f"{place}: {job} {arguments}: {error}")
    for name in set(flags.FLAGS) - shared:
        delattr(flags.FLAGS, name)
print("\\n".join(wrong))
"""


def _shown():
    """Yields (place, job, arguments) of all commands."""
    places = [(path, commands.of_page) for path in commands.PAGES]
    places += [(path, commands.of_job) for path in ROOT.glob("launch/*.py")]
    places += [(path, commands.of_recipe) for path in command.RECIPES.iterdir()]
    for path, read in places:
        for job, arguments in read(path.read_text()):
            yield str(path.relative_to(ROOT)), job, arguments


def test_commands_are_read_as_a_shell_reads_them():
    block = "cd x && python launch/train.py --a=1 \\\n    --b='c d'  # e\n"
    block += "jood fit --f | cat"
    assert list(commands.of_page(f"```bash\n{block}\n```")) == [
        ("train", ["--a=1", "--b=c d"]),
        ("fit", ["--f"]),
    ]
    loop = "for x in a b; do\n    jood fit --f=$x \\\n        --g\ndone\njood score"
    assert list(commands.of_lines(loop)) == [
        ("fit", ["--f=a", "--g"]),
        ("fit", ["--f=b", "--g"]),
        ("score", []),
    ]


# Flags of pytest, Ray, OpenOOD's scripts, SLURM, gcloud, TensorBoard and XLA.
OTHERS = {
    *("dist", "head", "fsood", "requeue", "signal", "nodes", "worker", "command"),
    *("logdir", "xla_gpu_deterministic_ops", "textures"),
}


def test_every_flag_that_a_page_mentions_is_a_jobs():
    files = [*ROOT.glob("launch/*.py"), ROOT / "jood" / "cli.py"]
    sources = "".join(path.read_text() for path in files)
    flags = {*re.findall(r'(?:DEFINE_\w+|_define_name)\(\s*"(\w+)"', sources)}
    flags |= {*re.findall(r"cli\.define_(\w+)\(", sources), "help", "flagfile"}
    for page in commands.PAGES:
        mentioned = {*re.findall(r"(?<![\w-])--([a-z]\w+)(?![\w-])", page.read_text())}
        assert mentioned <= flags | OTHERS, page


def test_messages_and_help_name_the_command():
    """`jood fit` is there for all who installed jood, launch/fit.py only in a clone."""
    files = [*ROOT.glob("launch/**/*.*"), *ROOT.glob("jood/**/*.py")]
    texts = [path for path in files if path.suffix != ".pyc"]
    named = [str(p) for p in texts if "python launch/" in p.read_text()]
    assert named == [str(ROOT / "jood" / "__main__.py")]


def _by_job(shown):
    """Groups commands by job: {job: [(place, arguments)]}; refuses made-up jobs."""
    known = command.jobs()
    by_job = {}
    for place, job, arguments in shown:
        if job in ("cite", "recipes"):
            continue
        assert job in known, f"{place} shows jood {job}, which is not a job"
        # What a plug-in of the reader's registers is not known here.
        unknown = (
            ("--help", "--detectors=") if "--plugins" in str(arguments) else "--help"
        )
        given = [command.with_recipe(a) for a in arguments if not a.startswith(unknown)]
        by_job.setdefault(job, []).append((place, given))
    return by_job


def _wrong(by_job):
    """A line for each command whose flags its job does not parse."""
    done = subprocess.run(
        [sys.executable, "-c", READER, command.JOBS],
        input=json.dumps(by_job),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()


def test_a_made_up_job_is_noticed():
    with pytest.raises(AssertionError, match="a page shows jood trian, which is not"):
        _by_job([("a page", *next(commands.of_lines("jood trian --epochs=1")))])


def test_jobs_and_scripts_that_pages_name_exist():
    jobs = {*command.jobs(), "cite", "recipes"}
    for page in commands.PAGES:
        text = page.read_text()
        assert {*re.findall(r"`jood ([a-z_]+)", text)} <= jobs, page.name
        scripts = re.findall(r"python3? ((?:docs|launch|colabs)/[a-z_]+\.py)", text)
        gone = [script for script in scripts if not (ROOT / script).is_file()]
        assert not gone, page.name


def test_every_job_stands_on_the_page_of_jobs():
    page = (ROOT / "docs" / "jobs.md").read_text()
    rows = re.findall(r"^\| `jood (\w+)` \|", page, flags=re.MULTILINE)
    assert sorted(rows) == sorted({*command.jobs(), "cite", "recipes"})


@pytest.mark.slow
def test_every_command_has_flags_of_its_job():
    by_job = _by_job(_shown())
    assert sum(map(len, by_job.values())) > 100
    made_up = {"train": [*by_job["train"], ("made up", ["--no_such_flag=1"])]}
    (line,) = _wrong(by_job | made_up)
    assert line.startswith("made up: train ['--no_such_flag=1']: Unknown command line")
