"""What is probably wrong with folders that are not named as the classes are."""

from collections.abc import Iterable, Sequence
import os
import pathlib

# What the parts of a data set are usually called, of which one is a class folder's
# parent.
_PARTS = frozenset({
    "train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval",
    "holdout", "id", "ood",
})  # fmt: skip


def parts(root: str | os.PathLike[str], paths: Iterable[str]) -> list[str]:
    """Returns the folders of a root that look like parts of a data set, not classes.

    Args:
      root: The folder.
      paths: Its images, relative to it, with '/'.

    Returns:
      Folders of such a name, sorted, whose images all lie in further folders below, if
      there are two of them or the root has no other folder; else [].
    """
    split = [path.split("/") for path in paths]
    names = {pieces[0] for pieces in split}
    flat = {pieces[0] for pieces in split if len(pieces) < 3}
    candidates = sorted(name for name in names - flat if name.lower() in _PARTS)
    # Beside train and val there may be images of no class; a class may be called train.
    return candidates if len(candidates) > 1 or names == set(candidates) else []


def hint(
    root: str | os.PathLike[str],
    paths: Sequence[str],
    folders: Iterable[str],
    classes: Iterable[str],
) -> str:
    """Returns what to change, as sentences after a space; '' if nothing is clear.

    Args:
      root: The folder that was given.
      paths: Its images.
      folders: Folders in it that are not named as a class.
      classes: The names of the classes.
    """
    folders, classes = list(folders), list(classes)
    if names := parts(root, paths):
        choices = ", ".join(str(pathlib.Path(root) / name) for name in names)
        return f" These are the parts of a data set: give one of {choices}."
    nested = {path.split("/")[1] for path in paths if path.count("/") > 1}
    if len(folders) == 1 and nested & set(classes):
        below = pathlib.Path(root) / folders[0]
        return f" The classes' folders are in {below}: give that."
    known = {name.casefold(): name for name in classes}
    cases = [
        f"{name} to {known[name.casefold()]}"
        for name in folders
        if name.casefold() in known
    ]
    if cases:
        return (
            " Letter case matters: rename "
            f"{', '.join(cases[:5])}{' and so on' if len(cases) > 5 else ''}."
        )
    return ""
