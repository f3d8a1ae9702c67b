"""Stands for a set that is absent, which may never be read."""

import dataclasses
from typing import Any, NoReturn


@dataclasses.dataclass(frozen=True)
class Absent:
    """Stands in for a source; reading from it says what is missing and where."""

    why: str

    def __len__(self) -> int:
        return 0

    def __getitem__(self, index: Any) -> NoReturn:
        raise FileNotFoundError(self.why)
