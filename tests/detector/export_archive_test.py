"""What the loader of an exported detector refuses: damage, and forgery."""

import io
import json
import struct
import zipfile

from helpers.jobs import ROOT
import jax
from jax import export
import jax.numpy as jnp
import numpy as np
import pytest

from jood._utils import compiling
from jood.detector import export_archive
from jood.detector import export_loader

REMOVED = object()


@pytest.fixture(scope="module")
def exported():
    """An export of three scores, of uint8 images with preprocessing and classes."""
    return ROOT / "tests" / "stored" / "detector.zip"


@pytest.fixture(scope="module")
def members(exported):
    with zipfile.ZipFile(exported) as file:
        return {name: file.read(name) for name in file.namelist()}


@pytest.fixture
def forged(members, tmp_path):
    """Writes an archive with other members, all with a right CRC-32."""

    def write(changed, packed=()):
        path = tmp_path / "forged.zip"
        with zipfile.ZipFile(path, "w") as file:
            for name, content in {**members, **changed}.items():
                if content is not REMOVED:
                    deflated = name in packed or not name.endswith(".npy")
                    file.writestr(name, content, 8 if deflated else 0)
        return path

    return write


def refused(path, reason=None):
    with pytest.raises(ValueError, match=reason) as caught:
        export_archive.read(path)
    assert str(path) in str(caught.value)
    assert "export the detector again" in str(caught.value)


def about_with(members, **changes):
    about = json.loads(members[export_archive.JSON_NAME])
    return {export_archive.JSON_NAME: json.dumps(about | changes)}


def test_what_was_not_changed_is_read(forged, exported):
    for path in (forged({}), exported, str(exported)):
        assert export_archive.read(path).about["format"] == "jood.exported"


def test_a_flipped_byte_in_any_member_is_noticed(exported, tmp_path):
    blob = exported.read_bytes()
    with zipfile.ZipFile(exported) as file:
        infos = file.infolist()
        ends = [*(info.header_offset for info in infos[1:]), file.start_dir]
    for info, end in zip(infos, ends, strict=True):
        place = end - info.compress_size // 4 - 1  # in the content, not its header
        flipped = blob[:place] + bytes([blob[place] ^ 1]) + blob[place + 1 :]
        (tmp_path / "d.zip").write_bytes(flipped)
        refused(tmp_path / "d.zip")


def test_a_file_that_was_cut_short_is_noticed(exported, tmp_path):
    blob = exported.read_bytes()
    for size in (0, 100, len(blob) // 2, len(blob) - 1):
        (tmp_path / "d.zip").write_bytes(blob[:size])
        refused(tmp_path / "d.zip", "not a zip file")


@pytest.mark.slow
def test_a_byte_flipped_anywhere_changes_nothing_or_is_noticed(exported, tmp_path):
    blob = exported.read_bytes()
    about, _, arrays = export_archive.read(exported)
    rng = np.random.default_rng(0)
    noticed = 0
    for place in rng.integers(0, len(blob), 300):
        flipped = bytearray(blob)
        flipped[place] ^= 1 << int(rng.integers(8))
        (tmp_path / "d.zip").write_bytes(flipped)
        try:
            found = export_archive.read(tmp_path / "d.zip")
        except ValueError as error:
            # `raises` (PT017) would want an error; a flip in padding is none.
            assert str(tmp_path / "d.zip") in str(error)  # noqa: PT017
            noticed += 1
            continue
        assert found.about == about  # of a time or a permission, which nobody reads
        for name, array in arrays.items():
            np.testing.assert_array_equal(found.arrays[name], array)
    assert noticed > 200


def test_every_member_is_needed(forged, members):
    for name in members:
        refused(forged({name: REMOVED}), f"lacks {name}")


def test_another_format_or_version_is_refused(forged, members):
    for change in ({"version": 99}, {"format": "other"}, {"version": "1"}):
        path = forged(about_with(members, **change))
        refused(path, "this loader reads 'jood.exported', version 1")


def test_compiler_options_are_known_ones_with_known_values(forged, members, tmp_path):
    dump = tmp_path / "dump"
    for options in (
        {"xla_dump_to": str(dump)},
        {**compiling.CPU, "xla_dump_to": str(dump)},
        dict.fromkeys(compiling.CPU, "x"),
    ):
        path = forged(about_with(members, compiler_options={"cpu": options}))
        with pytest.raises(ValueError, match="asks for the compiler options"):
            export_loader.load(path)
    assert not dump.exists()
    assert export_archive.KNOWN_OPTIONS["cpu"] == compiling.CPU
    for options in ({}, {"cpu": {}}, {"cpu": compiling.CPU}):
        export_archive.read(forged(about_with(members, compiler_options=options)))


ODD = [REMOVED, None, True, -1, 1e9, 10**30, "x", [], {}, [None], {"x": 1}, [[1] * 4]]


def test_json_of_another_type_is_refused(exported, members, forged, monkeypatch):
    """Whatever is changed, it is refused, or it says nothing that is read."""
    program = export_archive.read(exported).program
    monkeypatch.setattr(export, "deserialize", lambda _: program)  # which takes long
    about = json.loads(members[export_archive.JSON_NAME])
    places = [
        *((about, key) for key in about),
        (about["summary"], "class_names"),
        *((about["preprocessing"], k) for k in about["preprocessing"] if k != "zoom"),
        *((about["outputs"][0], key) for key in about["outputs"][0]),
    ]
    taken = set()
    for part, key in places:
        before = part[key]
        for odd in [odd for odd in ODD if odd is not before]:
            part.pop(key) if odd is REMOVED else part.update({key: odd})
            path = forged({export_archive.JSON_NAME: json.dumps(about)})
            try:
                export_archive.read(path)
            except ValueError as error:
                assert str(path) in str(error)  # noqa: PT017
            else:
                taken.add((key, repr(odd)))
            part[key] = before
    assert taken == {
        ("class_names", "None"),
        ("class_names", "[]"),
        ("compiler_options", "{}"),
        ("suffix", "'x'"),
        ("threshold", "None"),
    }


def test_json_that_is_none_or_too_deep_is_refused(forged):
    for text in ("", "[]", "null", "{", "[" * 100_000, b"\xff\xfe", '"x"'):
        refused(forged({export_archive.JSON_NAME: text}))


def npy(array=None, header=None):
    buffer = io.BytesIO()
    if header is None:
        np.save(buffer, array, allow_pickle=True)
        return buffer.getvalue()
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (npy(np.array([{}], object)), "claims to be object"),
        (npy(header="{'descr':'<f4','fortran_order':False,'shape':(1<<40,)}"), None),
        (npy(header=f"{{'descr':'<f4','fortran_order':False,'shape':({10**12},),}}"),
         "claims to be float32"),
        (npy(np.zeros(99, np.float32)), "not for its weights"),
        (b"", "not a .npy file|magic"),
        (b"x" * 200, "magic"),
    ],
    ids=["pickle", "expression", "huge", "other shape", "empty", "garbage"],
)  # fmt: skip
def test_an_array_that_is_no_weight_is_refused(forged, content, reason):
    refused(forged({"weights/0.npy": content}), reason)


@pytest.mark.parametrize("scores", [[2.0, 1.0], [np.nan], [], [[1.0, 2.0]]])
def test_calibration_scores_are_sorted_numbers(forged, scores):
    content = npy(np.array(scores, np.float32))
    refused(forged({"calibration/0.npy": content}), "not a sorted list of scores")


def test_memory_stays_near_the_size_of_the_file(forged, exported, tmp_path):
    huge = b" " * (export_archive._LARGEST_JSON + 1)
    refused(forged({export_archive.JSON_NAME: huge}), "claims to unpack")
    zeros = {"weights/0.npy": npy(np.zeros(10**5, np.float32))}
    refused(forged(zeros, packed=zeros), "is packed")
    # A hundred entries of the directory that all point to the largest member.
    with zipfile.ZipFile(exported) as file:
        start = file.start_dir
        largest = max(file.infolist(), key=lambda info: info.compress_size)
        with zipfile.ZipFile(tmp_path / "d.zip", "w") as bomb:
            bomb.fp.write(exported.read_bytes()[:start])
            bomb.start_dir = start
            for i in range(100):
                info = zipfile.ZipInfo(f"{i:05}.npy")
                info.CRC = largest.CRC
                info.header_offset = largest.header_offset
                info.file_size = info.compress_size = largest.compress_size
                bomb.filelist.append(info)
                bomb.NameToInfo[info.filename] = info
            bomb._didModify = True
    refused(tmp_path / "d.zip", "overlap")


def test_two_members_of_one_name_are_refused(forged, members):
    path = forged({})
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Dup"):
        file.writestr("weights/0.npy", members["weights/0.npy"])
    refused(path, "two members of one name")


def test_a_program_for_other_weights_is_refused(forged, members):
    def other(weights, images):
        scores = images.sum((1, 2, 3)) + weights[0].sum()
        return [scores, scores, scores], scores.astype(jnp.int32)

    (batch,) = export.symbolic_shape("B")
    images = jax.ShapeDtypeStruct((batch, 16, 16, 3), jnp.uint8)
    program = export.export(jax.jit(other))([jnp.zeros(3)], images).serialize()
    refused(
        forged({export_archive.PROGRAM_NAME: bytes(program)}), "not for its weights"
    )
    for garbage in (b"", b"x" * 1000, members[export_archive.PROGRAM_NAME][:-100]):
        refused(forged({export_archive.PROGRAM_NAME: garbage}))


def test_a_program_that_calls_back_to_python_is_refused(exported, forged, monkeypatch):
    """Its callback is an address in the memory of the process that wrote it."""
    _, program, _ = export_archive.read(exported)
    called = program.mlir_module_serialized + b"\0xla_ffi_python_cpu_callback\0"
    object.__setattr__(program, "mlir_module_serialized", called)
    monkeypatch.setattr(export, "deserialize", lambda _: program)
    refused(exported, "calls back to Python")


def test_a_file_that_is_not_there_keeps_its_own_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        export_archive.read(tmp_path / "nowhere.zip")
    with pytest.raises(IsADirectoryError):
        export_archive.read(tmp_path)
