"""The type of every benchmark."""

from collections.abc import Mapping
import dataclasses

from jood.data.sources import Source
from jood.preprocessing import Preprocessing


@dataclasses.dataclass(frozen=True, eq=False)
class Benchmark:
    """An ID task and the OOD sets that are told from it.

    Attributes:
      name: as `benchmarks.get` takes it.
      id_train: labelled; networks are trained and detectors fitted on it.
      id_test: labelled; ID accuracy and ID scores come from it.
      ood: OOD test sets by name, in the order of the table. Nothing is ever chosen
        on them.
      near: names of the OOD sets that are semantically near the ID classes.
      class_names: one per class.
      preprocessing: of the network.
      image_size: side of the square images, in pixels.
      protocol: how the numbers are made, in words, for the head of a table.
    """

    name: str
    id_train: Source
    id_test: Source
    ood: Mapping[str, Source]
    near: tuple[str, ...]
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    image_size: int
    protocol: str
