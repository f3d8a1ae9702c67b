"""Recipes: the flag files of launch/recipes, their heads, and what they configure."""

import json
import re
import subprocess
import sys

from helpers.jobs import ROOT

FOLDER = ROOT / "launch" / "recipes"
PATHS = sorted(FOLDER.glob("*.cfg"))
# Networks that a training method made which LFF and SSOD compare with.
METHODS = (
    "logitnorm", "vos", "npos", "cider", "supcon", "csi", "tagfog", "godin", "mos",
    "fort",
)  # fmt: skip
OF_METHODS = [path for path in PATHS if path.stem.split("_")[0] in METHODS]

# Reads flag files as launch/train.py does; prints the configurations as JSON.
READER = """
import importlib.util, json, sys
from absl import flags
spec = importlib.util.spec_from_file_location("train", sys.argv[1])
train = importlib.util.module_from_spec(spec)
spec.loader.exec_module(train)

class Network:
    # Stands for what --init_from names: of the recipe's own model.
    image_size = None

    @property
    def name(self):
        return flags.FLAGS.model

for path in sys.argv[2:]:
    flags.FLAGS.unparse_flags()
    rest = flags.FLAGS(["train.py", f"--flagfile={path}", "--workdir=x"])
    assert rest == ["train.py"], rest
    begun = Network() if "--init_from" in open(path).read() else None
    if begun:
        flags.FLAGS.init_from = "runs/before"
    print(json.dumps(train._config(begun).as_json()))
"""


def configs():
    """Returns the configurations by the names of the recipes, as JSON values."""
    done = subprocess.run(
        [sys.executable, "-c", READER, ROOT / "launch" / "train.py", *PATHS],
        capture_output=True,
        text=True,
        check=True,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return dict(zip((path.stem for path in PATHS), found, strict=True))


def head(path):
    """The comment that a recipe opens with."""
    lines = path.read_text().splitlines()
    return "\n".join(line[2:] for line in lines if line.startswith("#"))


def flag(path, name):
    """What the one command in a recipe's head that has a flag gives it."""
    (value,) = re.findall(rf'--{name}=("[^"]+"|\S+)', head(path))
    return value.strip('"')
