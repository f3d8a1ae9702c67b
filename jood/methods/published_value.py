"""A value of a detector as a paper gives it, with the place where it does."""

from typing import NamedTuple


class Value(NamedTuple):
    """A value that is filled into presets.

    Attributes:
      text: The value as it stands in a detector's text.
      source: Place of publication (paper and section), or the rule that stands in.
        `{network}` and `{benchmark}` become what is asked for.
    """

    text: str
    source: str


def published(source: str, **texts: str) -> dict[str, Value]:
    """Returns values of one source by the placeholder's name."""
    return {name: Value(text, source) for name, text in texts.items()}
