"""The types of every benchmark: what it is, and what of it is here."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses

from jood.core.preprocessing import Preprocessing
from jood.data.benchmarks.set_spec import SetSpec
from jood.data.sources import Source
from jood.methods.preset_values import PresetValues


@dataclasses.dataclass(frozen=True, eq=False)
class Benchmark:
    """An ID task and the OOD sets that are told from it.

    Attributes:
      name: Its name for `benchmarks.get`.
      id_train: Labelled images to train networks and fit detectors on.
      id_test: Labelled images for ID accuracy and ID scores.
      ood: OOD test sets by name, in the order of the table. Nothing is ever chosen
        on them.
      near: Names of the OOD sets that are semantically near the ID classes.
      class_names: One per class; () where the ID images carry no class labels.
      preprocessing: The network's preprocessing.
      image_size: Side of the square images, in pixels.
      protocol: How the numbers are made, in words, for the head of a table.
      paper: Names of the OOD sets that the paper averages; () for all of them.
      absent: By name of an OOD set that is not here, where it was looked for and where
        to get it.
      incomplete: By name of a set with another number of images than it should have,
        'found ... of ...'.
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
    paper: tuple[str, ...] = ()
    absent: Mapping[str, str] = dataclasses.field(default_factory=dict)
    incomplete: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class BenchmarkSpec:
    """What a benchmark consists of, before anything is opened; see `Benchmark`."""

    name: str
    title: str  # a short description, for people
    id_train: SetSpec
    id_test: SetSpec
    ood: Sequence[SetSpec]  # the paper's, in the order of the table
    near: Sequence[str]
    class_names: tuple[str, ...]  # () where they come from the ID set's folders
    preprocessing: Mapping[str, Preprocessing]  # the first is the benchmark's own
    image_size: int  # of the first preprocessing
    protocol: str
    paper: str  # the paper that defines the benchmark
    extra: Sequence[SetSpec] = ()  # further sets, scored where they are present
    labelled: bool = True  # whether the ID images carry class labels
    num_classes: int = 0  # K; 0 without labels
    # Where class names are the folders', the SHA-256 of their sorted names, one a line
    # without a last newline; '' where no list is published.
    classes_sha256: str = ""
    # A function of this description and the options of `benchmarks.get`, such as
    # `opening.made_by` returns; None reads the sets below the data root.
    open: Callable[..., Benchmark] | None = None
    # The values that it fills into presets; None if they are known already, or for
    # `preset_values.FALLBACK`.
    presets: PresetValues | None = None

    def __post_init__(self) -> None:
        if len(self.class_names) not in (0, self.num_classes):
            raise ValueError(
                f"{self.name} has {len(self.class_names)} class names, expected "
                f"{self.num_classes}."
            )
        if unknown := set(self.near) - {*self.sets}:
            raise ValueError(f"near sets that {self.name} lacks: {sorted(unknown)}.")

    @property
    def sets(self) -> dict[str, SetSpec]:
        """Returns every set by the name under which a benchmark carries it."""
        ood = {spec.name: spec for spec in (*self.ood, *self.extra)}
        return {"id_train": self.id_train, "id_test": self.id_test, **ood}
