"""The head of a CLIP: mean directions of the texts of the classes, scaled."""

from helpers import tiny_clip
import numpy as np
import pytest
from reference import clip as reference

import jood
from jood import weights
from jood.models import byte_pairs
from jood.models import clip_image
from jood.weights import clip_activation
from jood.weights import clip_head
from jood.weights import conversion
from jood.weights.clip_prompts import Prompts

WORDS = ("cat", "dog", "photo")
PROMPTS = Prompts(WORDS, WORDS, ("a photo of a {}", "the {}."))
NOUNS = tuple(f"{a}{b}" for a in "bdfgh" for b in "aeio")
ADJECTIVES = tuple(f"{a}y" for a in "bcdfghklmn")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A published file, with its vocabulary and its configuration."""
    return tiny_clip.write(tmp_path_factory.mktemp("clip") / "published")


def embedded(texts):
    return tiny_clip.embedded(byte_pairs.encode(tiny_clip.known(), texts))


def made(path, prompts=PROMPTS, **files):
    make = clip_head.of_files(tiny_clip.NAME, path, prompts, **files)
    return make(tiny_clip.tensors())


def test_a_column_is_the_mean_direction_over_templates_times_the_scale(path):
    found = made(path)
    scale = np.exp(tiny_clip.variables(tiny_clip.TEXT)["params"]["logit_scale"])
    for row, word in zip(found.tensors["head.weight"], WORDS, strict=True):
        mean = embedded([f"a photo of a {word}", f"the {word}."]).mean(0)
        expected = scale * mean / np.linalg.norm(mean)
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.tensors["head.bias"], np.zeros(3))
    assert found.collections == {}
    assert found.source == {"words": [*WORDS], "templates": [*PROMPTS.templates]}


@pytest.mark.slow
def test_texts_of_other_lengths_and_more_than_a_batch_keep_their_places(path):
    known = tiny_clip.known()
    texts = [f"{'dog ' * (i % 12)}cat {i}" for i in range(150)]
    held = weights.from_torch_names(tiny_clip.tensors(), tiny_clip.TEXT)
    found = clip_head.embedder(tiny_clip.TEXT, held, known)(texts)
    np.testing.assert_allclose(found, embedded(texts), atol=1e-5)


@pytest.mark.slow
def test_word_lists_become_negative_words(path, tmp_path):
    (tmp_path / "nouns.txt").write_text("\n".join(NOUNS))
    (tmp_path / "adjectives.txt").write_text("\n".join(ADJECTIVES))
    files = {name: tmp_path / f"{name}.txt" for name in ("nouns", "adjectives")}
    texts = made(path, **files).collections["neglabel_head"]
    positive = embedded([f"the nice {word}" for word in WORDS])
    np.testing.assert_allclose(texts["positive"], positive.T, atol=1e-5)
    candidates = embedded(
        [f"the nice {word}" for word in NOUNS]
        + [f"This is a {word} photo" for word in ADJECTIVES]
    )
    places = reference.negative_words(candidates, positive, len(NOUNS))
    assert len(places) == 3 + 1
    np.testing.assert_allclose(texts["negative"], candidates[places].T, atol=1e-5)
    alone = made(path, nouns=files["nouns"]).collections["neglabel_head"]
    np.testing.assert_array_equal(alone["negative"], texts["negative"][:, :3])


def test_a_file_is_converted_with_its_head(path):
    make = clip_head.of_files(tiny_clip.NAME, path, PROMPTS)
    network = conversion.convert(
        path,
        tiny_clip.NAME,
        clip_image.preprocessing(32),
        class_names=WORDS,
        make_head=make,
    )
    assert network.model == tiny_clip.IMAGE
    assert network.source["layout"] == "hugging_face"
    assert network.source["words"] == [*WORDS]
    kernel = network.variables["params"]["head"]["kernel"]
    np.testing.assert_array_equal(
        kernel.T, make(tiny_clip.tensors()).tensors["head.weight"]
    )
    assert clip_head.described(network) == (
        "texts such as 'a photo of a cat', of 2 templates"
    )
    with pytest.raises(ValueError, match=r"Only the classifier .*--prompts"):
        conversion.convert(path, tiny_clip.NAME, clip_image.preprocessing(32))
    with pytest.raises(ValueError, match=r"not the published file.*evaluate --prompts"):
        conversion.convert(
            path.parent, tiny_clip.NAME, network.preprocessing, make_head=make
        )


def test_a_text_that_is_too_long_is_named(path):
    prompts = PROMPTS._replace(words=("cat", "dog " * 80, "photo"))
    with pytest.raises(
        ValueError, match=r"87 tokens, but at most 77 .*'a photo of a d"
    ):
        made(path, prompts)


def test_a_tower_without_the_texts_of_classes_says_where_they_come_from():
    variables = dict(tiny_clip.variables(tiny_clip.IMAGE))
    variables["params"] = {k: v for k, v in variables["params"].items() if k != "head"}
    detector = jood.Detector("mcm", tiny_clip.IMAGE, variables)
    with pytest.raises(ValueError, match=r"classifier is missing: a CLIP.*--prompts"):
        detector(np.zeros([1, 32, 32, 3], np.float32))


def test_a_vocabulary_of_another_size_is_refused(path, tmp_path):
    (tmp_path / "merges.txt").write_text("#version\nc a\n")
    with pytest.raises(ValueError, match="has 515 tokens, but the text tower 49408"):
        made(path, vocabulary=tmp_path)


def test_a_file_of_the_image_tower_alone_says_what_it_lacks(path):
    make = clip_head.of_files(tiny_clip.NAME, path, PROMPTS)
    vision = {n: t for n, t in tiny_clip.tensors().items() if n.startswith("vis")}
    with pytest.raises(ValueError, match=r"does not fit this ClipText.*\n  missing: "):
        make(vision)


def test_the_configuration_is_asked_for_the_activation(path, tmp_path):
    clip_activation.check(path, "clip_small", "quick_gelu")
    with pytest.raises(ValueError, match=r"with quick_gelu, .*--model=clip_small\."):
        clip_head.of_files("clip_small_gelu", path, PROMPTS)
    place = tmp_path / "open_clip_config.json"
    for config, found in [
        ('{"model_cfg": {"quick_gelu": true}}', "quick_gelu"),
        ('{"model_cfg": {"embed_dim": 24}}', "gelu"),
    ]:
        place.write_text(config)
        clip_activation.check(tmp_path / "a.bin", "clip_small", found)
        other = {"gelu": "quick_gelu", "quick_gelu": "gelu"}[found]
        with pytest.raises(ValueError, match=f"with {found}, but"):
            clip_activation.check(tmp_path / "a.bin", "clip_small", other)
    for config in ("no JSON", "[1]", '{"model_cfg": 1}'):
        place.write_text(config)
        clip_activation.check(tmp_path / "a.bin", "clip_small", "gelu")
