"""Images in tar files, as WebDataset lays them out, read in any order.

The headers are read once, when the source is made; an image is then one seek away.
That needs plain tar files: a compressed one can only be read from its start.
"""

from collections.abc import Sequence
import dataclasses
import glob
import os
import pathlib
import stat
import tarfile
from typing import Any, NamedTuple

from jood.core.preprocessing import Preprocessing
from jood.data.sources import decoding
from jood.data.sources import file_lists
from jood.data.sources import source_kind
from jood.data.sources.source_kind import NamedImages

# What `tarfile` raises, the last two where a header claims an absurd size.
_BAD_HEADERS = (tarfile.TarError, ValueError, EOFError, OverflowError, MemoryError)
# What gzip, bzip2, xz and zstd write first.
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")


class _Member(NamedTuple):
    shard: str
    name: str
    start: int  # of its content in the shard, in bytes
    size: int


@dataclasses.dataclass(frozen=True, eq=False)
class TarShards:
    """The images of some tar files, in their order, without labels and captions."""

    shards: Sequence[str]  # paths of tar files
    preprocessing: Preprocessing | None = None  # resizes and crops the images
    # 'shard/member' of every image.
    names: list[str] = dataclasses.field(init=False, repr=False)
    # Reasons, by path, why a shard ends early, is not a tar file or cannot be read; the
    # images before that place are there.
    broken: dict[str, str] = dataclasses.field(init=False, repr=False)
    _members: list[_Member] = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Reads the headers.

        Raises:
          ValueError: There is no image in any shard.
        """
        contents = {shard: _members(shard) for shard in self.shards}
        members = [member for shard in self.shards for member in contents[shard][0]]
        broken = {shard: problem for shard, (_, problem) in contents.items() if problem}
        if not members:
            problem = next(iter(broken.values()), "")
            raise ValueError(
                f"there is no image in {file_lists.some(self.shards)}"
                f"{problem and ': '}{problem}. Expected tar files of images, which end "
                f"in {', '.join(sorted(file_lists.SUFFIXES))}."
            )
        object.__setattr__(self, "_members", members)
        object.__setattr__(self, "names", [f"{m.shard}/{m.name}" for m in members])
        object.__setattr__(self, "broken", broken)

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, index: Any) -> dict[str, Any]:
        member = self._members[index]
        name = self.names[index]
        decoding.check_size(member.size, name)
        with open(member.shard, "rb") as file:
            file.seek(member.start)
            data = file.read(member.size)
        return {"image": decoding.decode(data, name, self.preprocessing), "name": name}

    def fingerprint(self) -> str:
        """Returns a digest of the members' names and places, and the shards' times."""
        digest = file_lists.stamps(self.shards)
        for member in self._members:
            text = f"{member.name}\0{member.start}\0{member.size}\n"
            digest.update(text.encode("utf-8", "surrogateescape"))
        return f"tar:{digest.hexdigest()}, {decoding.version(self.preprocessing)}"


def _members(shard: str) -> tuple[list[_Member], str]:
    """The images of one tar file, and why it cannot be read further, or ''."""
    members: list[_Member] = []
    try:
        status = os.stat(shard)
        if not stat.S_ISREG(status.st_mode):
            return [], f"it is {decoding.kind_of(shard, status.st_mode)}, not a file"
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                start, length = member.offset_data, member.size
                if not member.isfile() or not _is_image(member.name):
                    continue
                if start + length > status.st_size:
                    return members, f"it is cut short in {member.name}"
                members.append(_Member(shard, member.name, start, length))
            end = archive.offset
        with open(shard, "rb") as file:  # `tarfile` takes any end for the end
            file.seek(end)
            if file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE):
                return members, ""
        reason = "cut short or damaged"
    except OSError as error:
        return members, error.strerror or str(error)
    except _BAD_HEADERS as error:
        with open(shard, "rb") as file:
            if file.read(6).startswith(_COMPRESSED):
                return members, (
                    "it is compressed, so its images cannot be read one by one; "
                    "decompress it (compression does not make images smaller)"
                )
        reason = str(error).rstrip(".") or "damaged"
    return members, f"after {len(members)} image(s): {reason}"


def _is_image(name: str) -> bool:
    path = pathlib.PurePosixPath(name)
    return path.suffix.lower() in file_lists.SUFFIXES and path.name[0] != "."


def _inputs(path: pathlib.Path, preprocessing: Preprocessing) -> NamedImages:
    paths = [str(path)] if path.is_file() else sorted(glob.glob(str(path)))
    if not paths:
        raise FileNotFoundError(f"no tar file matches {path}.")
    shards = TarShards(paths, preprocessing)
    return shards, shards.names


KIND = source_kind.SourceKind(
    "tar",
    takes=lambda path: path.suffix.lower() == ".tar" and not path.is_dir(),
    inputs=_inputs,
    title=".tar files",
)
