"""The four papers' tables, and jood's numbers for them.

    from jood import papers
    papers.table("himplos", "1").parts[1].rows[-1].numbers

`launch/reproduce.py` runs one on the weights and data at hand and writes ours, the
paper's and the difference.
"""

from jood.papers.transcription import PAPERS as PAPERS
from jood.papers.transcription import PaperTable as PaperTable
from jood.papers.transcription import of_rows as of_rows
from jood.papers.transcription import table as table
from jood.papers.transcription import tables as tables
