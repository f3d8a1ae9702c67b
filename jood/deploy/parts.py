"""The parts of a table that is written over hours, and may be interrupted.

They lie in `FOLDER.partial` beside the results' folder: `job.json`, which says what is
scored, and CSV files of equal numbers of images, each complete or absent. What counts
as done is the parts up to the first that is missing.
"""

from collections.abc import Mapping
import dataclasses
import itertools
import pathlib
from typing import Any

from jood._utils import atomic_files
from jood._utils import checked_json

PART_BATCHES = 16  # batches in a part: what an interruption costs at most
_JOB, _FORMAT, _VERSION = "job.json", "jood.ScoreJob", 1


@dataclasses.dataclass(frozen=True)
class Parts:
    """The parts of a job that may have been interrupted.

    Attributes:
      target: folder of the results; the parts lie beside it.
      identity: a text that another detector does not have.
      images: number of all images.
      batch_size: images per step.
    """

    target: pathlib.Path
    identity: str
    images: int
    batch_size: int

    @property
    def folder(self) -> pathlib.Path:
        """Where they lie."""
        return self.target.with_name(f"{self.target.name}.partial")

    @property
    def size(self) -> int:
        """Images in a part."""
        return PART_BATCHES * self.batch_size

    def path(self, first: int) -> pathlib.Path:
        """Returns the file of the part that begins with this image."""
        return self.folder / f"part-{first:012}.csv"

    def open(self, what: Mapping[str, Any]) -> None:
        """Makes the folder, or checks that the one there is of this very job.

        Args:
          what: which images are scored how, JSON values.

        Raises:
          FileExistsError: it is of another job; the message says what differs.
          OSError: the folder cannot be written.
        """
        job = {**what, "detector": self.identity, "part": self.size}
        file = self.folder / _JOB
        if not self.folder.exists():
            try:
                with atomic_files.atomic_folder(self.folder) as partial:
                    checked_json.write(partial / _JOB, _FORMAT, _VERSION, job)
            except OSError as error:
                raise OSError(
                    f"cannot write to {self.target.parent}, where the results belong: "
                    f"{error.strerror or error}."
                ) from error
            return
        found = checked_json.read(file, _FORMAT, _VERSION, advice="Delete its folder.")
        differ = [name for name, value in job.items() if found.get(name) != value]
        if differ:
            said = {"part": "the batch size", "tpr": "the TPR"}
            names = ", ".join(said.get(name, f"the {name}") for name in differ)
            raise FileExistsError(
                f"{self.folder} holds the parts of an interrupted job, which differs "
                f"from this one in {names}. Delete that folder to begin anew, or "
                "choose another --output."
            )

    def done(self) -> int:
        """Returns how many images are scored: those of the parts up to a gap."""
        for first in itertools.count(0, self.size):
            if first >= self.images or not self.path(first).is_file():
                return min(first, self.images)
        raise AssertionError

    def files(self) -> list[pathlib.Path]:
        """Returns the files of all parts, in their order."""
        return [self.path(first) for first in range(0, self.images, self.size)]
