"""Images to score from folders, lists, archives and tar files, good and bad."""

import io
import os
import signal
import tarfile
import zipfile

from helpers import brightness
import numpy as np
from PIL import Image
import pytest

import jood
from jood.data import inputs as inputs_lib
from jood.data import sources
from jood.data.benchmarks import on_disk
from jood.data.benchmarks import set_spec
from jood.data.sources import file_lists
from jood.data.sources import image_folder
from jood.data.sources import kinds
from jood.data.sources import resized
from jood.data.sources import source_kind
from jood.data.sources.tar_shards import TarShards

SIZE = brightness.SIZE
LEVELS = [10, 20, 30, 40, 50]


def opened(where):
    return inputs_lib.open_inputs(str(where), brightness.FIT)


def levels(inputs):
    return [int(inputs.source[i]["image"][0, 0, 0]) for i in range(len(inputs.names))]


def png(level, size=(9, 5)):
    file = io.BytesIO()
    Image.fromarray(brightness.gray(level, size)).save(file, "png")
    return file.getvalue()


def tar(path, members):
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def as_folder(root):
    return brightness.folder(root / "images", LEVELS, (9, 5))


def as_list(root):
    as_folder(root)
    lines = [f"images/{i:04}.png" for i in range(5)]
    (root / "list.txt").write_text("\n".join(lines))
    return root / "list.txt"


def as_labelled_list(root):
    path = as_list(root)
    path.write_text("\n".join(f"{line} 3" for line in path.read_text().split()))
    return path


def as_npz(root):
    images = np.stack([brightness.gray(level, (9, 5)) for level in LEVELS])
    np.savez(root / "images.npz", images=images)
    return root / "images.npz"


def as_tars(root):
    members = {f"{i}.png": png(level) for i, level in enumerate(LEVELS)}
    tar(root / "b.tar", {k: members[k] for k in ("3.png", "4.png")})
    first = {k: members[k] for k in ("0.png", "1.png", "2.png")}
    tar(root / "a.tar", {**first, "0.cls": b"7", ".hidden.png": b"x"})
    return root / "*.tar"


@pytest.mark.parametrize(
    "make", [as_folder, as_list, as_labelled_list, as_npz, as_tars]
)
def test_images_come_in_order_at_the_networks_size_wherever_they_lie(make, tmp_path):
    where = make(tmp_path)
    inputs = opened(where)
    assert levels(inputs) == LEVELS
    assert len(inputs.names) == len(set(inputs.names)) == len(inputs.source)
    for index in range(len(LEVELS)):
        example = inputs.source[index]
        assert example["image"].shape == (SIZE, SIZE, 3)
        assert "label" not in example
    assert inputs.fingerprint == opened(where).fingerprint
    assert not inputs.broken


def test_names_say_where_an_image_lies(tmp_path):
    as_list(tmp_path)
    assert opened(tmp_path / "images").names[1] == f"{tmp_path}/images/0001.png"
    assert opened(tmp_path / "list.txt").names[1] == f"{tmp_path}/images/0001.png"
    assert opened(as_npz(tmp_path)).names[1] == f"{tmp_path}/images.npz[1]"
    assert opened(as_tars(tmp_path)).names[3] == f"{tmp_path}/b.tar/3.png"


def test_one_image_is_read_too(tmp_path):
    as_folder(tmp_path)
    assert levels(opened(tmp_path / "images" / "0002.png")) == [30]


@pytest.mark.parametrize("make", [as_folder, as_list, as_npz, as_tars])
def test_other_images_have_another_fingerprint(make, tmp_path):
    before = opened(make(tmp_path)).fingerprint
    LEVELS[1] = 21
    try:
        where = make(tmp_path)
        for path in tmp_path.rglob("*.*"):
            os.utime(path, (0, 0))
        assert opened(where).fingerprint != before
    finally:
        LEVELS[1] = 20


def test_images_that_cannot_be_read_keep_their_place_and_say_why(tmp_path):
    root = as_folder(tmp_path)
    (root / "0000.png").write_bytes(b"")
    (root / "0002.png").write_bytes(png(30, (90, 50))[:-30])
    path = tmp_path / "list.txt"
    path.write_text("\n".join([f"images/{i:04}.png" for i in range(5)] + ["no.png"]))
    inputs = opened(path)
    found = [inputs.source[i] for i in range(6)]
    assert [("skipped" in example) for example in found] == [1, 0, 1, 0, 0, 1]
    assert found[0]["skipped"] == "the file is empty"
    assert "truncated" in found[2]["skipped"]
    assert found[5]["skipped"] == "No such file or directory"
    assert {example["image"].shape for example in found} == {(SIZE, SIZE, 3)}
    assert inputs.fingerprint == opened(path).fingerprint


@pytest.fixture
def in_time():
    """Ends a test that waits for a pipe's other end."""

    def late(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def odd_entries(root):
    """Whatever may lie in a folder; returns the names and a part of each reason."""
    os.mkfifo(root / "pipe.png")
    (root / "gone.png").symlink_to(root / "nowhere")
    (root / "circle.png").symlink_to(root / "circle.png")
    (root / "zero.png").symlink_to("/dev/zero")
    (root / "secret").mkdir()
    brightness.folder(root / "secret", [1])
    with (root / "large.png").open("wb") as file:
        file.truncate(3 << 40)  # a sparse file
    return {
        "pipe.png": "it is a pipe, not a file",
        "gone.png": "No such file or directory",
        "circle.png": "Too many levels of symbolic links",
        "zero.png": "it is a device, not a file",
        "secret": "it is a folder",
        "large.png": "more than an image of 89,478,485 pixels needs",
    }


def reasons(inputs):
    examples = [inputs.source[i] for i in range(len(inputs.names))]
    told = zip(inputs.names, examples, strict=True)
    return {name: e.get("skipped", int(e["image"][0, 0, 0])) for name, e in told}


def check_reasons(found, root, odd):
    assert len(found) == len(LEVELS) + len(odd)
    for name, reason in odd.items():
        assert reason in found.pop(str(root / name)), name
    assert list(found.values()) == LEVELS


@pytest.mark.usefixtures("in_time")
def test_one_odd_entry_of_a_folder_does_not_stop_the_others(tmp_path, monkeypatch):
    root = as_folder(tmp_path)
    odd = odd_entries(root)
    scandir = os.scandir

    def refuses(path):
        if str(path).rstrip("/").endswith("secret"):  # root may read every folder
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuses)
    inputs = opened(root)
    check_reasons(reasons(inputs), root, odd)
    assert inputs.fingerprint == opened(root).fingerprint
    for names in (odd.keys() - {"secret"}, {"secret"}):  # who trains is told at once
        with pytest.raises(OSError, match=r"a link to nothing\.|Permission denied"):
            image_folder.ImageFolder(root)
        for name in names:
            (root / name).is_dir() or (root / name).unlink()


@pytest.mark.usefixtures("in_time")
def test_one_odd_line_of_a_list_does_not_stop_the_others(tmp_path):
    root = as_folder(tmp_path)
    odd = odd_entries(root)
    odd |= {"a\0b.png": "it is not a path", "x" * 3000 + ".png": "File name too long"}
    latin = os.fsdecode(b"caf\xe9.png")
    os.rename(root / "0001.png", root / latin)
    names = ["0000.png", latin, *(f"{i:04}.png" for i in (2, 3, 4)), *odd]
    path = root / "list.txt"
    path.write_bytes(b"\n".join(map(os.fsencode, names)))
    inputs = opened(path)
    check_reasons(reasons(inputs), root, odd)
    assert inputs.fingerprint == opened(path).fingerprint


@pytest.mark.parametrize(
    "labels",
    [["99999999999999999999", "2", "3", "4", "5"], ["9" * 5000, "-7", "3", "4", "5"]],
)
def test_labels_of_a_list_do_not_matter_where_images_are_scored(tmp_path, labels):
    as_folder(tmp_path)
    lines = [f"images/{i:04}.png {label}" for i, label in enumerate(labels)]
    path = tmp_path / "list.txt"
    path.write_text("\n".join(lines))
    assert levels(opened(path)) == LEVELS
    with pytest.raises(
        ValueError, match=r"list.txt, line 1: label 9+\. Labels are >= 0"
    ):
        file_lists.entries(path)
    (tmp_path / "images/0001.png").rename(tmp_path / "images/of 2017")
    path.write_text("images/0000.png 3\nimages/of 2017\nimages/0002.png\n")
    assert levels(opened(path)) == LEVELS[:3]


def test_a_tar_file_that_cannot_be_read_does_not_stop_the_others(tmp_path):
    as_tars(tmp_path)
    os.mkfifo(tmp_path / "pipe.tar")
    (tmp_path / "gone.tar").symlink_to("nowhere")
    with tarfile.open(tmp_path / "small.tar", "w:gz") as archive:
        archive.add(tmp_path / "a.tar", "a.png")
    absurd = tarfile.TarInfo("x" * 200).tobuf(tarfile.GNU_FORMAT)
    size = b"\x80" + (1 << 62).to_bytes(11, "big")  # of a long name, in its header
    absurd = bytearray(absurd[:124] + size + absurd[136:])
    absurd[148:156] = b" " * 8
    absurd[148:156] = b"%06o\0 " % sum(absurd[:512])
    (tmp_path / "absurd.tar").write_bytes(absurd)
    inputs = opened(tmp_path / "*.tar")
    assert levels(inputs) == LEVELS
    broken = {path.rpartition("/")[2]: why for path, why in inputs.broken.items()}
    assert broken.pop("absurd.tar").startswith("after 0 image(s): ")
    assert broken.pop("small.tar").startswith("it is compressed")
    assert broken == {
        "pipe.tar": "it is a pipe, not a file",
        "gone.tar": "No such file or directory",
    }


def test_an_archive_that_claims_more_than_it_holds_is_refused(tmp_path, monkeypatch):
    header = io.BytesIO()
    claims = {"descr": "|u1", "fortran_order": False, "shape": (1 << 26, 256, 256, 3)}
    np.lib.format.write_array_header_1_0(header, claims)
    with zipfile.ZipFile(tmp_path / "claims.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue() + bytes(100))
    with pytest.raises(ValueError, match=r"cannot read images from .*claims\.npz: "):
        opened(tmp_path / "claims.npz")
    bomb = np.zeros((300, 100, 100, 3), np.uint8)
    np.savez_compressed(tmp_path / "bomb.npz", images=bomb)
    assert len(opened(tmp_path / "bomb.npz").names) == 300
    monkeypatch.setattr(sources, "_memory", lambda: 8_000_000)
    with pytest.raises(ValueError, match=r"to 9,000,\d+ bytes.*has 8,000,000"):
        opened(tmp_path / "bomb.npz")


def test_a_tar_file_that_is_cut_short_gives_what_is_whole(tmp_path):
    path = tar(tmp_path / "a.tar", {f"{i}.png": png(10 * i) for i in range(4)})
    content = path.read_bytes()
    for size, whole in ((3 * 1024 + 530, 3), (2 * 1024 + 100, 2), (1024, 1)):
        path.write_bytes(content[:size])
        inputs = opened(path)
        assert levels(inputs) == [10 * i for i in range(whole)]
        assert list(inputs.broken) == [str(path)]
        assert "cut short" in inputs.broken[str(path)]


def test_tar_files_are_read_in_any_order_and_survive_pickling(tmp_path):
    import pickle

    as_tars(tmp_path)
    source = TarShards([str(tmp_path / "b.tar"), str(tmp_path / "a.tar")])
    again = pickle.loads(pickle.dumps(source))
    for index in (4, 0, 2, 2):
        np.testing.assert_array_equal(again[index]["image"], source[index]["image"])
    assert [int(source[i]["image"][0, 0, 0]) for i in range(5)] == [40, 50, 10, 20, 30]


def bad(root):
    """Everything that is refused, with what the message says."""
    (root / "empty").mkdir()
    (root / "empty.txt").write_text("\n")
    (root / "words.csv").write_text("a,b")
    (root / "junk.tar").write_bytes(b"junk" * 400)
    tar(root / "none.tar", {"a.txt": b"x"})
    with tarfile.open(root / "small.tar", "w:gz") as archive:
        archive.add(root / "words.csv", "a.png")
    np.savez(root / "key.npz", pictures=np.zeros((2, 4, 4, 3), np.uint8))
    np.savez(root / "gray.npz", images=np.zeros((2, 4, 4, 1), np.uint8))
    np.savez(root / "no.npz", images=np.zeros((0, 4, 4, 3), np.uint8))
    np.savez(root / "float.npz", images=np.zeros((2, 4, 4, 3), np.float32))
    return root


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty", "there is no image in"),
        ("nowhere", "there is no file or folder"),
        ("empty.txt", "names no image"),
        ("words.csv", "is none of what can be scored"),
        ("junk.tar", "no image in .*junk.tar: after 0"),
        ("none.tar", "no image in"),
        ("small.tar", "is compressed"),
        ("x*.tar", "no tar file matches"),
        ("key.npz", r"has no \['images'\]"),
        ("gray.npz", r"1 channel\(s\), but the detector takes 3"),
        ("no.npz", "no image in"),
        ("float.npz", "must be uint8"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_what_can(name, message, tmp_path):
    with pytest.raises((ValueError, OSError), match=message):
        opened(bad(tmp_path) / name)


def test_a_preprocessing_that_leaves_images_at_their_size_is_refused(tmp_path):
    plain = jood.Preprocessing((0.5,) * 3, (0.5,) * 3)
    with pytest.raises(ValueError, match=r"neither a crop nor.*jood fit"):
        inputs_lib.open_inputs(str(as_folder(tmp_path)), plain)


def test_a_kind_from_outside_is_scored_and_opens_a_benchmarks_set(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(kinds, "_KINDS", dict(kinds._KINDS))

    def read(path):
        pixels = np.uint8(path.read_text().split())
        return sources.ArraySource(
            np.tile(pixels[:, None, None, None], (SIZE, SIZE, 3))
        )

    kind = source_kind.SourceKind(
        "gray",
        open=lambda path, how: resized.fitted(read(path), how.preprocessing),
        takes=source_kind.ending_in([".gray"]),
        inputs=lambda path, _: (read(path), ["first", "second"]),
        title="a .gray file",
    )
    kinds.register(kind)
    with pytest.raises(ValueError, match="kind of source 'gray' already"):
        kinds.register(kind)
    (tmp_path / "ood_data").mkdir()
    path = tmp_path / "ood_data/a.gray"
    path.write_text("7 200")
    inputs = opened(path)
    assert levels(inputs) == [7, 200]
    assert list(inputs.names) == ["first", "second"]
    with pytest.raises(FileNotFoundError, match=r"or a \.gray file"):
        opened(tmp_path / "b.gray")
    place = set_spec.Place("gray", "a.gray")
    one = set_spec.SetSpec("own", "", 2, [place], "http://x", "mine")
    found = on_disk.find(one, tmp_path)
    assert found.path == path
    half = jood.Preprocessing((0.5,) * 3, (0.5,) * 3, resize=(4, 4))
    source = on_disk.open_set(found, half, labelled=False)
    assert source[1]["image"].tolist() == np.full((4, 4, 3), 200).tolist()
