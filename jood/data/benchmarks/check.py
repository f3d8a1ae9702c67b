"""Which sets of a benchmark are on disk: counts and checksums.

Counting lists files and reads descriptions; no image is decoded. Checksums are
compared where the content of a file is known (`SetSpec.known`).
"""

from collections.abc import Sequence
import dataclasses
import hashlib
import pathlib

import tabulate

from jood.data.benchmarks import on_disk
from jood.data.benchmarks import opening
from jood.data.benchmarks.set_spec import SetSpec
from jood.data.benchmarks.spec import BenchmarkSpec
from jood.data.sources import kinds
from jood.data.sources.source_kind import PREFIXES

PRESENT, INCOMPLETE, ABSENT, BROKEN = "present", "INCOMPLETE", "ABSENT", "BROKEN"
WRONG = "WRONG"


@dataclasses.dataclass(frozen=True)
class Finding:
    """The state of one set on disk."""

    name: str  # 'id_train', 'id_test' or the OOD set's
    # 'ID', 'OOD', 'OOD, near'; with 'extra' where it is not needed; 'shifted ID',
    # 'validation ID' and 'validation OOD'.
    role: str
    spec: SetSpec
    state: str  # PRESENT, INCOMPLETE (another number of images), ABSENT or BROKEN
    path: str = ""  # '' if it is absent
    count: int | None = None  # of images; None if they cannot be counted
    checksum: str = "-"  # 'ok', WRONG with the file's name, or why there is none
    problem: str = ""  # the fault, and what to do about it

    @property
    def is_wrong(self) -> bool:
        """Returns whether the set is on disk but cannot be used."""
        return self.state == BROKEN or self.checksum.startswith(WRONG)


def inspect(spec: BenchmarkSpec, root: pathlib.Path) -> list[Finding]:
    """Returns the state of every set of a benchmark that reads files."""
    return [inspect_set(spec, name, root) for name in spec.sets]


def inspect_set(spec: BenchmarkSpec, name: str, root: pathlib.Path) -> Finding:
    """Returns the state of one set, `name` as in `spec.sets`."""
    one, role, path = spec.sets[name], _role(spec, name), ""
    try:
        files = on_disk.find(one, root)
        if files is None:
            return Finding(name, role, one, ABSENT)
        path = str(files.path)
        labelled = role.endswith("ID") and spec.labelled
        source = on_disk.open_set(files, None, labelled=labelled)
        if name == "id_train":
            opening.class_names(spec, getattr(source, "class_names", None), root)
    except (OSError, ValueError) as error:
        return Finding(name, role, one, BROKEN, path, problem=str(error))
    state = PRESENT if one.size in (None, len(source)) else INCOMPLETE
    return Finding(name, role, one, state, path, len(source), *_checksum(one, files))


def runs(findings: Sequence[Finding]) -> bool:
    """Returns whether the benchmark runs: ID sets and an OOD set, and nothing wrong."""
    return (
        not any(one.is_wrong for one in findings)
        and all(one.state != ABSENT for one in findings if one.role == "ID")
        and any(one.state != ABSENT for one in findings if one.role.startswith("OOD"))
    )


def text(findings: Sequence[Finding], root: pathlib.Path) -> str:
    """Returns the findings as text: a table, then each set's place and source."""
    rows = [
        [
            one.name,
            one.role,
            one.state,
            "-" if one.count is None else f"{one.count:,}",
            "?" if one.spec.size is None else f"{one.spec.size:,}",
            one.checksum,
        ]
        for one in findings
    ]
    headers = ["set", "role", "state", "images", "expected", "checksum"]
    right = ("left", "left", "left", "right", "right", "left")
    lines = [tabulate.tabulate(rows, headers, colalign=right, disable_numparse=True)]
    for one in findings:
        lines += ["", f"{one.name}: {one.spec.title}", *_details(one, root)]
    others = ", ".join(filter(None, PREFIXES))
    return "\n".join([*lines, "", f"Folders of images may also lie in {others} there."])


def _details(one: Finding, root: pathlib.Path) -> list[str]:
    expected = [] if one.path else on_disk.paths(one.spec, root)
    lines = [
        ("is at", one.path),
        *(("expected at", path) for path in expected),
        ("from", one.spec.url),
        ("how", one.spec.how),
        ("licence", one.spec.licence),
        ("PROBLEM", one.problem),
    ]
    return [f"  {what:11}  {value}" for what, value in lines if value]


def _role(spec: BenchmarkSpec, name: str) -> str:
    if name in ("id_train", "id_test"):
        return "ID"
    if name in ("id_validation", "ood_validation"):
        return f"validation {'ID' if name.startswith('id') else 'OOD'}"
    if name in {one.name for one in spec.shifted}:
        return "shifted ID"
    near = ", near" if name in spec.near else ""
    extra = ", extra" if name in {one.name for one in spec.extra} else ""
    return f"OOD{near}{extra}"


def _checksum(one: SetSpec, files: on_disk.SetFiles) -> tuple[str, str]:
    """The column of the table, and what to do."""
    folder = files.path if files.path.is_dir() else files.path.parent
    results = []
    for name in dict.fromkeys(known.name for known in one.known):
        path = folder / name
        if not path.is_file():
            continue
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        notes = {k.sha256: k.note for k in one.known if k.name == name}
        if digest in notes:
            results.append("; ".join(filter(None, ("ok", notes[digest]))))
        elif kinds.get(files.place.kind).versioned:
            results.append("none recorded for this version")
        else:
            return f"{WRONG}: {name}", (
                f"{path} has SHA-256 {digest}, expected {' or '.join(notes)}. Delete "
                "it and fetch it again."
            )
    return ", ".join(results) or "none recorded", ""
