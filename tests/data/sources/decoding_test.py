"""Decoding: every kind of file to uint8 RGB, and errors that name the file."""

import io
import pickle
import threading
import warnings

import numpy as np
from PIL import Image
import pytest

import jood
from jood.core.preprocessing import Magnified
from jood.data.sources import decoding

# 6 x 4, with a ramp and coloured corners: every rotation of it is another image.
RGB = np.zeros((4, 6, 3), np.uint8)
RGB[..., 1] = np.arange(0, 240, 40)
RGB[0, 0], RGB[0, 5], RGB[3, 0] = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def encoded(image, form, **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("PPM", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_lossless_files_give_back_their_pixels(form, options):
    image = decoding.decode(encoded(RGB, form, **options))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, RGB)


@pytest.mark.parametrize(
    ("form", "options"),
    [("JPEG", {"quality": 30}), ("WEBP", {"quality": 30}), ("GIF", {})],
)
def test_other_files_give_what_pillow_decodes(form, options):
    smooth = np.asarray(Image.fromarray(RGB).resize((48, 32)))
    data = encoded(smooth, form, **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    image = decoding.decode(data)
    np.testing.assert_array_equal(image, expected)
    assert np.abs(image.astype(int) - smooth).mean() < 20


def test_a_real_jpeg_equals_torchvisions_loader(data_dir):
    for path in sorted((data_dir / "images/imagenet_sample").iterdir())[:3]:
        with Image.open(path) as file:
            expected = np.asarray(file.convert("RGB"))
        np.testing.assert_array_equal(decoding.decode(path), expected)


def test_the_content_counts_not_the_suffix(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(RGB, "PNG"))
    np.testing.assert_array_equal(decoding.decode(path), RGB)
    np.testing.assert_array_equal(decoding.decode(str(path)), RGB)


def test_the_first_frame_of_an_animation_counts():
    frames = [Image.fromarray(np.full((4, 6, 3), v, np.uint8)) for v in (10, 200)]
    for form in ("GIF", "WEBP", "PNG"):
        file = io.BytesIO()
        frames[0].save(file, form, save_all=True, append_images=frames[1:])
        image = decoding.decode(file.getvalue())
        np.testing.assert_allclose(image, 10, atol=2)


def test_gray_and_bits_become_three_equal_channels():
    gray = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
    expected = np.repeat(gray[..., None], 3, axis=-1)
    np.testing.assert_array_equal(decoding.decode(encoded(gray, "PNG")), expected)
    bits = gray > 100
    np.testing.assert_array_equal(
        decoding.decode(encoded(bits, "PNG")), np.where(bits[..., None], 255, [0] * 3)
    )


def test_alpha_is_dropped_not_composited():
    alpha = np.full((4, 6, 1), 7, np.uint8)
    data = encoded(np.concatenate([RGB, alpha], -1), "PNG")
    np.testing.assert_array_equal(decoding.decode(data), RGB)
    gray = np.concatenate([RGB[..., 1:2], alpha], -1)
    image = decoding.decode(encoded(gray, "PNG"))
    np.testing.assert_array_equal(image, np.repeat(RGB[..., 1:2], 3, axis=-1))


@pytest.mark.parametrize("transparency", [None, 0, b"\x00\x80\xff"])
def test_a_palette_gives_its_colours_whatever_is_transparent(transparency):
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 200, 0, 1, 2, 3])
    image.putdata([0, 1, 2])
    file = io.BytesIO()
    options = {} if transparency is None else {"transparency": transparency}
    image.save(file, "PNG", **options)
    found = decoding.decode(file.getvalue())
    np.testing.assert_array_equal(found, [[[255, 0, 0], [0, 200, 0], [1, 2, 3]]])


def test_cmyk_is_converted():
    cmyk = Image.fromarray(np.asarray(Image.new("RGB", (8, 8), (200, 30, 60))))
    file = io.BytesIO()
    cmyk.convert("CMYK").save(file, "JPEG", quality=95)
    image = decoding.decode(file.getvalue())
    np.testing.assert_allclose(image[4, 4], (200, 30, 60), atol=6)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_gray_of_16_bits_is_scaled_not_clipped(form):
    values = np.array([[0, 128, 129, 257, 32768, 65406, 65407, 65535]], np.uint16)
    image = decoding.decode(encoded(values, form))
    expected = np.round(values / 257).astype(np.uint8)
    np.testing.assert_array_equal(expected, [[0, 0, 1, 1, 128, 254, 255, 255]])
    np.testing.assert_array_equal(image, np.repeat(expected[..., None], 3, axis=-1))


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [  # the pixels that a camera writes so that a viewer shows RGB
        (1, RGB),
        (2, RGB[:, ::-1]),
        (3, RGB[::-1, ::-1]),
        (4, RGB[::-1]),
        (5, RGB.transpose(1, 0, 2)),
        (6, RGB.transpose(1, 0, 2)[::-1]),
        (7, RGB.transpose(1, 0, 2)[::-1, ::-1]),
        (8, RGB.transpose(1, 0, 2)[:, ::-1]),
        (9, RGB),  # no orientation at all
    ],
)
@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG"])
def test_exif_rotation_is_applied(orientation, stored, form):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}}
    stored = np.ascontiguousarray(stored)
    data = encoded(stored, form, exif=exif, **options.get(form, {}))
    image = decoding.decode(data)
    tolerance = 60 if form == "JPEG" else 0
    assert image.shape == RGB.shape
    np.testing.assert_allclose(image.astype(int), RGB, atol=tolerance)


def test_broken_exif_says_nothing_about_the_pixels():
    exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x05\x00\x12\x01\x02\x00\xff\xff\xff"
    data = encoded(np.full((8, 8, 3), 90, np.uint8), "JPEG", exif=exif)
    np.testing.assert_allclose(decoding.decode(data), 90, atol=2)


def test_a_preprocessing_is_applied_after_the_rotation():
    preprocessing = jood.Preprocessing((0.5,) * 3, (0.5,) * 3, resize=8, crop=6)
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.ascontiguousarray(RGB.transpose(1, 0, 2)[::-1])
    image = decoding.decode(encoded(stored, "PNG", exif=exif), None, preprocessing)
    np.testing.assert_array_equal(image, preprocessing.fit_image(RGB))


# Bad files


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.8])
def test_a_truncated_file_is_named(tmp_path, form, share):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    data = encoded(noise, form)
    path = tmp_path / "cut.jpg"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=r"cannot read the image .*cut\.jpg: .*Skipp"):
        decoding.decode(path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"<html>404 Not Found</html>" * 9, "none of the formats JPEG, PNG"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "."),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "none of the formats"),
    ],
)
def test_other_content_is_named(data, reason):
    with pytest.raises(decoding.ImageError, match=f"the image 7 of a list: .*{reason}"):
        decoding.decode(data, "7 of a list")


def test_a_changed_pixel_stream_is_noticed():
    data = bytearray(encoded(np.tile(RGB, (9, 9, 1)), "PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(decoding.ImageError, match="the image x: "):
        decoding.decode(bytes(data), "x")


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_pixels_of_32_bits_have_no_agreed_range(dtype):
    with pytest.raises(decoding.ImageError, match="32 bits"):
        decoding.decode(encoded(np.ones((4, 6), dtype), "TIFF"))


@pytest.mark.parametrize("limit", [10, 20])  # Pillow raises from twice the limit on
def test_a_decompression_bomb_is_refused_without_a_warning(monkeypatch, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    for action in ("default", "error"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter(action)
            with pytest.raises(decoding.ImageError, match="decompression bomb"):
                decoding.decode(encoded(RGB, "PNG"))
        assert not caught
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    np.testing.assert_array_equal(decoding.decode(encoded(RGB, "PNG")), RGB)


def test_pillows_warnings_do_not_leak_and_others_stay():
    # An EXIF entry that points behind the end: Pillow warns when it reads the file.
    entry = b"\x1a\x01\x05\x00\x01\x00\x00\x00\xf0\xff\x00\x00"
    exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00" + entry + bytes(4)
    data = encoded(RGB, "PNG", exif=exif)
    with pytest.warns(UserWarning, match="Truncated File Read"):
        Image.open(io.BytesIO(data)).getexif()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        decoding.decode(data)
        before = list(warnings.filters)
        decoding.decode(data)
        assert warnings.filters == before  # one filter, not one per image
        warnings.warn("of somebody else", UserWarning, stacklevel=1)
    assert [str(w.message) for w in caught] == ["of somebody else"]


def test_threads_that_decode_do_not_disturb_warnings():
    data = encoded(RGB, "PNG")

    def work():
        for _ in range(50):
            decoding.decode(data)

    with warnings.catch_warnings():
        decoding.decode(data)
        before = list(warnings.filters)
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert warnings.filters == before


def test_a_missing_file_is_no_unreadable_image(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        decoding.decode(tmp_path / "gone.png")


def test_the_error_survives_the_way_back_from_a_worker():
    error = pickle.loads(pickle.dumps(decoding.ImageError("a.png", "it is cut")))
    assert (error.name, error.reason) == ("a.png", "it is cut")
    assert "a.png: it is cut. Replace" in str(error)


def test_the_version_tells_preprocessings_apart():
    of = (0.5,) * 3
    texts = {
        decoding.version(None),
        decoding.version(jood.Preprocessing(of, of, crop=4)),
        decoding.version(jood.Preprocessing(of, of, resize=4)),
        decoding.version(jood.Preprocessing(of, of, resize=4, interpolation="nearest")),
    }
    assert len(texts) == 4
    assert decoding.version(Magnified(of, of, resize=4, zoom=2)) not in texts


GRAY = jood.Preprocessing((0.5,), (0.25,), resize=(4, 6))


def test_a_network_of_one_channel_reads_the_luma_of_any_file(tmp_path):
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (4, 6, 3), np.uint8)
    luma = np.asarray(Image.fromarray(colour).convert("L"))[..., None]
    weights = np.array([0.299, 0.587, 0.114])  # ITU-R 601
    np.testing.assert_allclose(luma[..., 0], colour @ weights, atol=0.51)
    found = decoding.decode(encoded(colour, "PNG"), preprocessing=GRAY)
    np.testing.assert_array_equal(found, luma)
    picture = decoding.from_pillow(Image.fromarray(colour), "it", GRAY)
    np.testing.assert_array_equal(picture, luma)
    gray = luma[..., 0]
    for kind in ("L", "LA", "P", "RGBA"):
        path = tmp_path / f"{kind}.png"
        Image.fromarray(gray).convert(kind).save(path)
        found = decoding.decode(path, preprocessing=GRAY)
        np.testing.assert_array_equal(found, luma, err_msg=kind)
    deep = Image.fromarray(gray.astype(np.uint16) * 257)
    np.testing.assert_array_equal(decoding.from_pillow(deep, "it", GRAY), luma)


def test_gray_and_colour_are_other_pixels_and_four_channels_are_none():
    of = (0.5,) * 3
    colour = jood.Preprocessing(of, of, resize=(4, 6))
    assert decoding.version(GRAY) != decoding.version(colour)
    four = jood.Preprocessing((0.5,) * 4, (0.5,) * 4, crop=4)
    with pytest.raises(ValueError, match="4 channels, but files are read as gray"):
        decoding.decode(b"", preprocessing=four)
