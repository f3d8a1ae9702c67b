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
      name: as `benchmarks.get` takes it.
      id_train: labelled; networks are trained and detectors fitted on it.
      id_test: labelled; ID accuracy and ID scores come from it.
      ood: OOD test sets by name, in the order of the table. Nothing is ever chosen
        on them.
      near: names of the OOD sets that are semantically near the ID classes.
      class_names: one per class; () where the ID images carry no class labels.
      preprocessing: The network's preprocessing.
      image_size: side of the square images, in pixels.
      protocol: how the numbers are made, in words, for the head of a table.
      paper: names of the OOD sets that the paper averages; () for all of them.
      absent: OOD sets that belong to the benchmark and are not here: by name, where
        they were looked for and where to get them.
      incomplete: sets ('id_train', 'id_test' or an OOD set) that are here with
        another number of images than they should have: by name, 'found ... of ...'.
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
    """What a benchmark consists of, before anything is opened.

    Attributes:
      name: as `benchmarks.get` takes it.
      title: A short description, for people.
      id_train: the ID training set.
      id_test: the ID test set.
      ood: the paper's OOD sets, in the order of the table.
      extra: further sets that are scored where they are present and not missed where
        they are absent.
      near: names of the OOD sets that are semantically near the ID classes.
      class_names: one per class; () where they come from the ID set's folders.
      labelled: whether the ID images carry class labels.
      num_classes: K, 0 without labels; `class_names` may come from the data.
      classes_sha256: where class names are the folders', the SHA-256 of their sorted
        names, one a line without a last newline; '' where no list is published.
      preprocessing: by name; the first is the benchmark's own.
      image_size: side of the square images of the first preprocessing, in pixels.
      protocol: how the numbers are made, in words, for the head of a table.
      paper: The paper that defines the benchmark.
      open: Opens it, taking this description and the options of `benchmarks.get`;
        None reads the sets below the data root. `opening.made_by` makes one from a
        function that returns a `Benchmark`.
      presets: The values that it fills into presets; None where they are known
        already; a new benchmark without them gets `preset_values.FALLBACK`.
    """

    name: str
    title: str
    id_train: SetSpec
    id_test: SetSpec
    ood: Sequence[SetSpec]
    near: Sequence[str]
    class_names: tuple[str, ...]
    preprocessing: Mapping[str, Preprocessing]
    image_size: int
    protocol: str
    paper: str
    extra: Sequence[SetSpec] = ()
    labelled: bool = True
    num_classes: int = 0
    classes_sha256: str = ""
    open: Callable[..., Benchmark] | None = None
    presets: PresetValues | None = None

    def __post_init__(self) -> None:
        if self.class_names and len(self.class_names) != self.num_classes:
            raise ValueError(
                f"{self.name} has {len(self.class_names)} class names, expected "
                f"{self.num_classes}."
            )
        unknown = set(self.near) - {*self.sets}
        if unknown:
            raise ValueError(f"near sets that {self.name} lacks: {sorted(unknown)}.")

    @property
    def sets(self) -> dict[str, SetSpec]:
        """Returns every set by the name under which a benchmark carries it."""
        ood = {spec.name: spec for spec in (*self.ood, *self.extra)}
        return {"id_train": self.id_train, "id_test": self.id_test, **ood}
