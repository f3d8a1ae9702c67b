"""The text tower stays with a converted CLIP, whose head can be made of other texts."""

import shutil

from helpers import tiny_clip
import numpy as np
import pytest

from jood.models import clip_image
from jood.weights import checkpoint
from jood.weights import clip_head
from jood.weights import clip_prompts
from jood.weights import clip_vocabulary
from jood.weights import conversion
from jood.weights import reading
from jood.weights import text_tower

WORDS, OTHERS = ("cat", "dog", "photo"), ("small cat", "dog", "a toy")
TEMPLATES = ("a photo of a {}", "the {}.")


def convert(path, words, templates=TEMPLATES, **files):
    prompts = clip_prompts.Prompts(WORDS, words, templates)
    return conversion.convert(
        path,
        tiny_clip.NAME,
        clip_image.preprocessing(32),
        class_names=WORDS,
        make_head=clip_head.of_files(tiny_clip.NAME, path, prompts, **files),
    )


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return tiny_clip.write(tmp_path_factory.mktemp("clip") / "published")


@pytest.fixture(scope="module")
def folder(published):
    """A converted CLIP with its text tower; texts and word lists lie beside it."""
    place = published.parent.parent
    (place / "nouns.txt").write_text("\n".join(f"cat{i}" for i in range(20)))
    (place / "templates.txt").write_text("\n".join(TEMPLATES))
    (place / "same.txt").write_text("\n".join(WORDS))
    (place / "others.txt").write_text("\n".join(OTHERS))
    network = convert(published, WORDS, nouns=place / "nouns.txt")
    tensors = reading.read(published)
    checkpoint.save(
        place / "network",
        network,
        lambda new: text_tower.write(new, network.name, tensors, published.parent),
    )
    return place / "network"


def kernel(network):
    return network.variables["params"]["head"]["kernel"]


def with_texts(folder, prompts=None, templates=None):
    files = (name and folder.parent / name for name in (prompts, templates))
    return text_tower.with_texts(folder, checkpoint.open(folder), *files)


@pytest.mark.slow
def test_the_same_texts_give_the_same_network(folder):
    found = with_texts(folder, "same.txt", "templates.txt")
    plain = checkpoint.open(folder)
    np.testing.assert_array_equal(kernel(found), kernel(plain))
    assert found.source == plain.source
    assert found.variables.keys() == plain.variables.keys()


def test_other_words_give_what_converting_with_them_gives(folder, published):
    found = with_texts(folder, "others.txt")
    again = convert(published, OTHERS, (clip_prompts.TEMPLATE,))
    np.testing.assert_array_equal(kernel(found), kernel(again))
    assert found.class_names == WORDS
    assert found.source["words"] == [*OTHERS]
    # NegLabel's texts of the classes are of the old words.
    assert clip_head.NEGLABEL not in found.variables


def test_templates_alone_keep_the_words(folder, published):
    (folder.parent / "one.txt").write_text("the {}.\n")
    found = with_texts(folder, templates="one.txt")
    np.testing.assert_array_equal(
        kernel(found), kernel(convert(published, WORDS, ("the {}.",)))
    )
    assert clip_head.NEGLABEL in found.variables


def test_the_vocabulary_is_the_published_one(folder, published):
    kept = clip_vocabulary.read(folder / text_tower.FOLDER)
    assert kept == clip_vocabulary.read(published.parent)


def test_texts_that_do_not_fit_the_classes_are_refused(folder):
    (folder.parent / "few.txt").write_text("cat\tcat\ndog\tdog\n")
    with pytest.raises(ValueError, match=r"no words for 1 of 3 classes: photo\. Add"):
        with_texts(folder, "few.txt")
    (folder.parent / "long.txt").write_text(f"cat\n{'dog ' * 80}\nphoto\n")
    with pytest.raises(ValueError, match=r"87 tokens, but at most 77"):
        with_texts(folder, "long.txt")


def test_a_folder_without_a_text_tower_says_so(folder, tmp_path):
    checkpoint.save(tmp_path / "network", checkpoint.open(folder))
    with pytest.raises(FileNotFoundError, match=r"no text tower at .*--prompts=FILE"):
        text_tower.with_texts(
            tmp_path / "network", checkpoint.open(folder), folder.parent / "same.txt"
        )


def test_a_network_that_is_no_clip_with_texts_says_so(folder):
    network = checkpoint.open(folder)
    network.source.pop("words")
    with pytest.raises(ValueError, match=r"clip_small whose head is not made of texts"):
        text_tower.with_texts(folder, network, folder.parent / "same.txt")


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
def test_a_changed_file_is_refused(folder, tmp_path, file):
    copied = tmp_path / "network"
    shutil.copytree(folder, copied)
    path = copied / text_tower.FOLDER / file
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{file} is missing or was changed"):
        text_tower.with_texts(copied, checkpoint.open(copied), None, None)
