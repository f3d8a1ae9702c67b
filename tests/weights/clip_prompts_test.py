"""Files of class words, templates and word lists, and what is wrong with bad ones."""

import pytest

from jood.weights import clip_prompts


@pytest.fixture
def file(tmp_path):
    def write(text, name="file.txt"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_line_says_the_words_of_a_class(file):
    prompts = clip_prompts.read(file("tench\ngreat white shark\n\n"))
    words = ("tench", "great white shark")
    assert prompts == (words, words, ("a photo of a {}",))
    named = clip_prompts.read(file("tench\ncat\n"), class_names=("n01", "n02"))
    assert named.class_names == ("n01", "n02")
    assert named.words == ("tench", "cat")


def test_words_behind_a_tab_are_of_the_class_before_it(file):
    path = file("n02\tcat\nn01\ttench\nn03\tdog\n")
    assert clip_prompts.read(path).class_names == ("n02", "n01", "n03")
    prompts = clip_prompts.read(path, class_names=("n01", "n02"))
    assert prompts.class_names == ("n01", "n02")
    assert prompts.words == ("tench", "cat")


def test_templates_and_words(file):
    path = file("a {}.\n{{sic}} {}\n")
    assert clip_prompts.read_templates(path) == ("a {}.", "{{sic}} {}")
    assert clip_prompts.read_words(file("oak\nelm\noak\n")) == ("oak", "elm")


@pytest.mark.parametrize(
    ("text", "class_names", "message"),
    [
        ("tench\n\ncat\n", None, "one class per line, but these lines are empty: 2"),
        ("tench\n", ("a", "b"), "words for 1 classes, but there are 2: a, b"),
        ("a\ttench\n", ("a", "b"), r"no words for 1 of 2 classes: b\. Add"),
        ("a\ttench\nb\t\n", None, "no words for 1 classes: b"),
        ("a\ttench\nb\t \u00a0\n", None, "no words for 1 classes: b"),
        ("a\ttench\na\tcat\n", None, "names classes twice: a"),
        ("a\ttench\ncat\n", None, "either each line has one tab"),
        ("a\tb\tc\n", None, "either each line has one tab"),
        ("", None, "these lines are empty: 1"),
    ],
)
def test_a_class_without_words_is_named(file, text, class_names, message):
    with pytest.raises(ValueError, match=message):
        clip_prompts.read(file(text), class_names=class_names)


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("a photo", "found none"),
        ("a {name}", r"found \{name\}"),
        ("a {} and {}", r"found \{\}, \{\}"),
        ("a {} of {c}", r"found \{\}, \{c\}"),
        ("a {0}", r"found \{0\}"),
        ("a {", "cannot be read"),
    ],
)
def test_an_unknown_placeholder_is_named(file, template, found):
    with pytest.raises(ValueError, match=found):
        clip_prompts.read_templates(file(f"a good {{}}\n{template}\n"))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*nope\.txt with one class"):
        clip_prompts.read(tmp_path / "nope.txt")
