r"""Names of files need not be Unicode; texts that are written or shown must be.

Python holds a byte of a name that is not Unicode as half of a surrogate pair, which no
file and no terminal takes. Here it becomes \xNN.
"""


def encodable(text: str) -> str:
    r"""Returns a text with \xNN for each byte that is not Unicode."""
    try:
        return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    except UnicodeEncodeError:  # half of a pair, which no file system gave
        return text.encode(errors="backslashreplace").decode()
