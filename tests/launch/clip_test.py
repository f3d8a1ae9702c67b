"""A published CLIP becomes a folder, and detectors are compared with it."""

import json

from helpers import tiny_clip
from helpers.jobs import run_job
import numpy as np
from PIL import Image
import pytest

from jood.models import clip_image
from jood.weights import checkpoint

NAMES = ("bird", "cat", "dog")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file of weights; beside it texts of its classes, and images."""
    path = tiny_clip.write(tmp_path_factory.mktemp("clip") / "published")
    folder = path.parent
    (folder / "classes.txt").write_text("dog\tdog\ncat\tcat\nbird\tsmall bird\n")
    (folder / "others.txt").write_text("dog\tbig dog\ncat\tcat\nbird\tbird\n")
    (folder / "templates.txt").write_text("a photo of a {}\nthe {}.\n")
    (folder / "nouns.txt").write_text("\n".join(f"cat{i}" for i in range(40)))
    (folder / "names.txt").write_text("\n".join(NAMES))
    rng = np.random.default_rng(0)
    for place in ("train", "val", "other"):
        for name in NAMES:
            for index in range(4):
                pixels = rng.integers(0, 256, (40, 36, 3), np.uint8)
                file = folder / place / name / f"{index}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(file)
    return path


def convert(path, *flags, ok=True):
    folder = path.parent
    given = [f"--weights={path}", f"--model={tiny_clip.NAME}", *flags]
    return run_job(
        "convert", *(flag.replace("@", f"{folder}/") for flag in given), ok=ok
    )


@pytest.mark.slow
def test_a_clip_is_converted_and_evaluated(published, tmp_path):
    folder, images = tmp_path / "network", published.parent
    printed = convert(
        published,
        "--prompts=@classes.txt",
        "--templates=@templates.txt",
        "--nouns=@nouns.txt",
        "--class_names=@names.txt",
        f"--output={folder}",
    )
    assert "names of hugging_face" in printed
    assert "head: texts such as 'a photo of a small bird', of 2 templates" in printed
    assert "; 6 negative words" in printed
    assert "preprocessing (CLIP's unless given)" in printed
    network = checkpoint.open(folder)
    assert network.class_names == NAMES
    assert network.preprocessing == clip_image.preprocessing(32)
    lengths = np.linalg.norm(network.variables["params"]["head"]["kernel"], axis=0)
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-5)

    def evaluate(output, *flags, **options):
        return run_job(
            "evaluate",
            f"--checkpoint={folder}",
            f"--images={images / 'train'}",
            f"--validation={images / 'val'}",
            f"--ood=other={images / 'other'}",
            f"--output={tmp_path / output}",
            *flags,
            **options,
        )

    printed = evaluate("a", "--detectors=msp, mcm, neglabel(groups=2), knn(k=5)")
    assert "neglabel(groups=2)" in printed
    others = f"--prompts={images / 'others.txt'}"
    assert "mcm" in evaluate("b", "--detectors=mcm", others)
    results = json.loads((tmp_path / "b" / "results.json").read_text())
    trained = results["configuration"]["trained"]
    assert trained["words"] == ["bird", "cat", "big dog"]  # in the order of the classes
    assert trained["templates"] == ["a photo of a {}"]
    refused = evaluate("c", "--detectors=neglabel(groups=2)", others, ok=False)
    assert "neglabel_head" in refused
    assert "Traceback" not in refused


@pytest.mark.slow
def test_the_job_says_what_is_wrong_without_a_traceback(published, tmp_path):
    never = f"--output={tmp_path / 'never'}"
    prompts = "--prompts=@classes.txt"
    for flags, message in [
        ((never,), "Only the classifier is missing: a CLIP has none"),
        ((never, "--nouns=@nouns.txt"), "--nouns are for the texts of a CLIP's"),
        ((never, prompts, "--model=resnet18"), "resnet18 has no text tower"),
    ]:
        printed = convert(published, *flags, ok=False)
        assert message in printed
        assert "Traceback" not in printed
    assert not (tmp_path / "never").exists()
