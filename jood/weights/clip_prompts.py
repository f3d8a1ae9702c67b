"""Text files of class words, templates and word lists, from which a head is made.

    tench                            n01440764<TAB>tench
    goldfish                 or      n01443537<TAB>goldfish
    great white shark                n01484850<TAB>great white shark

A line has the words of a class, in the order of the logits; or the class's name, a tab
and its words, in any order. A file of templates has one template per line, with `{}` in
the place of the words. Several templates are averaged.
"""

from collections.abc import Sequence
import os
import pathlib
import string
from typing import NamedTuple

TEMPLATE = "a photo of a {}"  # MCM's


class Prompts(NamedTuple):
    """The words of each class, and the templates that they are put into."""

    class_names: tuple[str, ...]
    words: tuple[str, ...]  # one per class
    templates: tuple[str, ...]


def read(
    path: str | os.PathLike[str],
    templates: str | os.PathLike[str] | None = None,
    class_names: Sequence[str] | None = None,
) -> Prompts:
    """Reads the words and templates of the classes' prompts.

    Args:
      path: File of words, one class per line.
      templates: File of templates; by default the only one is 'a photo of a {}'.
      class_names: The classes in the order of the logits; by default the names in the
        file, or the words themselves.

    Raises:
      FileNotFoundError: There is no such file.
      ValueError: A class has no words or is named twice, or a template is not one.
    """
    names, words = _classes(pathlib.Path(path))
    if class_names is not None:
        words = _of_classes(tuple(class_names), names, words, str(path))
    return Prompts(
        tuple(class_names or names or words),
        words,
        (TEMPLATE,) if templates is None else read_templates(templates),
    )


def read_templates(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Reads a file of templates; errors as for `read`."""
    templates = _lines(pathlib.Path(path), "template")
    for template in templates:
        try:
            fields = [name for _, name, *_ in string.Formatter().parse(template)]
        except ValueError as error:
            raise ValueError(
                f"{path}: the template {template!r} cannot be read: {error}."
            ) from None
        holders = [name for name in fields if name is not None]
        if holders != [""]:
            others = ", ".join(f"{{{name}}}" for name in holders) or "none"
            raise ValueError(
                f"{path}: the template {template!r} must have the placeholder {{}} "
                f"once, where the words of a class go, and no other; found {others}."
            )
    return templates


def read_words(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Reads a list of words, one per line, each kept once; errors as for `read`."""
    return tuple(dict.fromkeys(_lines(pathlib.Path(path), "word")))


def _classes(path: pathlib.Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names before the tabs, () without tabs, and the words."""
    lines = _lines(path, "class")
    pairs = [tuple(map(str.strip, line.split("\t"))) for line in lines]
    widths = {len(pair) for pair in pairs}
    if not widths <= {1, 2} or len(widths) > 1:
        raise ValueError(
            f"{path}: either each line has one tab, between the name of a class and "
            f"its words, or none has; found lines of {sorted(widths)} parts."
        )
    if widths == {1}:
        return (), tuple(lines)
    names = tuple(pair[0] for pair in pairs)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{path} names classes twice: {', '.join(twice[:6])}.")
    empty = [name for name, words in pairs if not words]
    if empty:
        raise ValueError(
            f"{path} has no words for {len(empty)} classes: {', '.join(empty[:6])}."
        )
    return names, tuple(pair[1] for pair in pairs)


def _of_classes(
    class_names: tuple[str, ...],
    names: tuple[str, ...],
    words: tuple[str, ...],
    where: str,
) -> tuple[str, ...]:
    """The words of each class that is asked for; others in the file are skipped."""
    if not names:
        if len(words) != len(class_names):
            raise ValueError(
                f"{where} has words for {len(words)} classes, but there are "
                f"{len(class_names)}: {', '.join(class_names[:3])}, ... Give a line "
                "per class, in the order of the logits."
            )
        return words
    words_of = dict(zip(names, words, strict=True))
    lacking = [name for name in class_names if name not in words_of]
    if lacking:
        raise ValueError(
            f"{where} has no words for {len(lacking)} of {len(class_names)} classes: "
            f"{', '.join(lacking[:6])}. Add a line for each: NAME<TAB>WORDS."
        )
    return tuple(words_of[name] for name in class_names)


def _lines(path: pathlib.Path, what: str) -> tuple[str, ...]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path} with one {what} per line.")
    text = path.read_text(encoding="utf-8-sig").rstrip(" \r\n")
    lines = [line.rstrip(" \r") for line in text.split("\n")]
    empty = [number for number, line in enumerate(lines, 1) if not line.strip()]
    if empty:
        shown = ", ".join(map(str, empty[:6]))
        raise ValueError(
            f"{path} must have one {what} per line, but these lines are empty: {shown}."
        )
    return tuple(lines)
