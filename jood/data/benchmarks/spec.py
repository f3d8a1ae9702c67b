"""The types of benchmarks: the description of one, and one that is opened.

OOD sets may be in named groups, such as near and far, whose averages a table has beside
the average over all. Covariate-shifted ID sets show the ID classes in another way: the
averages of the full spectrum count them as ID (OpenOOD v1.5, Sec. 3).
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses

from jood.core.preprocessing import Preprocessing
from jood.data.benchmarks.set_spec import SetSpec
from jood.data.sources import Source
from jood.methods.preset_values import PresetValues


@dataclasses.dataclass(frozen=True, eq=False)
class Benchmark:
    """An ID task and its OOD sets."""

    name: str  # for `benchmarks.get`
    id_train: Source  # labelled, to train networks and fit detectors on
    id_test: Source  # labelled, for ID accuracy and ID scores
    ood: Mapping[str, Source]  # in the order of the table; nothing is chosen on them
    near: tuple[str, ...]  # names of the OOD sets semantically near the ID classes
    class_names: tuple[str, ...]  # () where the ID images carry no class labels
    preprocessing: Preprocessing  # the network's
    image_size: int  # side of the square images, in pixels
    protocol: str  # in words, how the numbers are computed, for the head of a table
    paper: tuple[str, ...] = ()  # names of the sets that it averages; () for all
    # By name of an OOD set that is not here: where it was looked for, where to get it.
    absent: Mapping[str, str] = dataclasses.field(default_factory=dict)
    # By name of a set with another number of images than expected: 'found ... of ...'.
    incomplete: Mapping[str, str] = dataclasses.field(default_factory=dict)
    # Names of the OOD sets by group, also of those that are not here.
    groups: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    # Covariate-shifted ID sets, labelled; `absent_shifted` as `absent`.
    shifted: Mapping[str, Source] = dataclasses.field(default_factory=dict)
    absent_shifted: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ValidationSets:
    """What a benchmark chooses hyper-parameters on; neither is tested on."""

    id: SetSpec  # labelled
    ood: SetSpec


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
    # Where class names are the folders', the SHA-256 of their sorted names, one per
    # line without a last newline; '' where no list is published.
    classes_sha256: str = ""
    # A function of this description and the options of `benchmarks.get`, such as
    # `opening.made_by` returns; None reads the sets below the data root.
    open: Callable[..., Benchmark] | None = None
    # The values that it fills into presets; None if they are known already, or for
    # `preset_values.FALLBACK`.
    presets: PresetValues | None = None
    # Names of OOD sets by group; each group's average is a column. {} for near and far.
    groups: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    shifted: Sequence[SetSpec] = ()  # covariate-shifted ID sets
    validation: ValidationSets | None = None  # of hyper-parameters, where it has such

    def __post_init__(self) -> None:
        if len(self.class_names) not in (0, self.num_classes):
            raise ValueError(
                f"{self.name} has {len(self.class_names)} class names, expected "
                f"{self.num_classes}."
            )
        if unknown := set(self.near) - {*self.sets}:
            raise ValueError(f"near sets that {self.name} lacks: {sorted(unknown)}.")
        grouped = {name for group in self.groups.values() for name in group}
        if unknown := grouped - {*self.sets}:
            raise ValueError(f"grouped sets that {self.name} lacks: {sorted(unknown)}.")

    @property
    def sets(self) -> dict[str, SetSpec]:
        """Returns every set by the name under which a benchmark carries it."""
        ood = {spec.name: spec for spec in (*self.ood, *self.extra)}
        shifted = {spec.name: spec for spec in self.shifted}
        sets = {"id_train": self.id_train, "id_test": self.id_test, **ood, **shifted}
        if self.validation:
            sets["id_validation"] = self.validation.id
            sets["ood_validation"] = self.validation.ood
        return sets
