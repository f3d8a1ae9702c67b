"""Image folders and file lists: labels, order, and what is wrong with them."""

import os
import pickle

import numpy as np
from PIL import Image
import pytest

import jood
from jood.data.sources import decoding
from jood.data.sources.image_folder import ImageFolder

FIT = jood.Preprocessing((0.5,) * 3, (0.5,) * 3, resize=6, crop=4)


def write(root, *paths, size=(4, 4)):
    """Writes one-coloured images, each of another colour; returns the root."""
    for value, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        form = "JPEG" if path.lower().endswith(("jpg", "jpeg")) else "PNG"
        pixels = np.full((*size, 3), 10 * value, np.uint8)
        Image.fromarray(pixels).save(root / path, form, quality=95)
    return root


def values(source):
    """The colour of each image, in tens, and its label."""
    examples = [source[i] for i in range(len(source))]
    return [
        (round(e["image"].mean() / 10), int(e["label"]) if "label" in e else None)
        for e in examples
    ]


def test_a_folder_per_class_is_labelled_by_sorted_names(tmp_path):
    root = write(tmp_path, "dog/b.png", "cat/z.JPEG", "dog/a.Jpg", "cat/deep/er/c.png")
    source = ImageFolder(root)
    assert source.class_names == ("cat", "dog")
    assert list(source.paths) == [
        "cat/deep/er/c.png", "cat/z.JPEG", "dog/a.Jpg", "dog/b.png",
    ]  # fmt: skip
    assert values(source) == [(3, 0), (1, 0), (2, 1), (0, 1)]
    assert source[np.int64(3)]["label"].dtype == np.int32
    assert source[0]["name"] == str(root / "cat/deep/er/c.png")


def test_given_class_names_decide_the_labels_and_one_may_have_no_folder(tmp_path):
    root = write(tmp_path, "cat/a.png", "dog/b.png")
    source = ImageFolder(root, class_names=["emu", "dog", "cat"])
    assert values(source) == [(0, 2), (1, 1)]
    assert source.class_names == ("emu", "dog", "cat")


def test_some_folders_can_be_read_in_the_order_of_their_labels(tmp_path):
    root = write(tmp_path, "n1/a.png", "n2/b.png", "n3/c.png", "loose.png")
    source = ImageFolder(root, folders=["n3", "n1"], class_names=["emu", "cat"])
    assert values(source) == [(2, 0), (0, 1)]
    assert source.class_names == ("emu", "cat")
    assert ImageFolder(root, folders=["n2"]).class_names == ("n2",)
    assert ImageFolder(root, folders=["n2"], labelled=False).labels is None


def test_a_flat_folder_has_no_labels(tmp_path):
    source = ImageFolder(write(tmp_path, "b.png", "a.webp", "c.BMP"))
    assert values(source) == [(1, None), (0, None), (2, None)]
    assert source.class_names is None


def test_an_ood_set_is_read_at_any_depth_without_labels(tmp_path):
    root = write(tmp_path, "x/a.png", "b.png", "x/y/c.png")
    source = ImageFolder(root, labelled=False)
    assert values(source) == [(1, None), (0, None), (2, None)]
    assert source.class_names is None


def test_hidden_and_other_files_are_left_out(tmp_path):
    root = write(tmp_path, "a.png", ".b.png", ".git/c.png", "d.png")
    (root / "README.txt").write_text("no image")
    assert values(ImageFolder(root)) == [(0, None), (3, None)]


def test_links_are_followed_but_not_for_ever(tmp_path):
    store = write(tmp_path / "store", "a.png", "b.png")
    root = tmp_path / "set"
    (root / "cat").mkdir(parents=True)
    (root / "cat/one.png").symlink_to(store / "b.png")
    (root / "dog").symlink_to(store, target_is_directory=True)
    (root / "cat/again").symlink_to(root, target_is_directory=True)  # a loop
    assert values(ImageFolder(root)) == [(1, 0), (0, 1), (1, 1)]


def test_a_preprocessing_makes_all_images_one_size(tmp_path):
    root = write(tmp_path, "a.png", size=(9, 30))
    image = ImageFolder(root, preprocessing=FIT)[0]["image"]
    np.testing.assert_array_equal(image, FIT.fit_image(ImageFolder(root)[0]["image"]))
    assert image.shape == (4, 4, 3)


# Lists


def listed(root, text, **options):
    (root / "list.txt").write_bytes(text.encode())
    return ImageFolder(root, file_list=root / "list.txt", **options)


def test_lists_keep_their_order_and_may_have_labels(tmp_path):
    root = write(tmp_path, "x/a.png", "x/b c 3.png", "d")
    assert values(listed(root, "x/b c 3.png\nx/a.png\n")) == [(1, None), (0, None)]
    text = "\ufeffx/b c 3.png 4\r\n\r\nd 0\r\nx/a.png\t2\r\n"
    source = listed(root, text)
    assert values(source) == [(1, 4), (2, 0), (0, 2)]
    assert source.class_names is None
    assert listed(root, text, class_names="abcde").class_names == tuple("abcde")
    assert values(listed(root, text, labelled=False))[0] == (1, None)


def test_label_minus_1_in_every_line_means_no_labels(tmp_path):
    root = write(tmp_path, "a.png", "b.png")
    assert values(listed(root, "b.png -1\na.png -1\n")) == [(1, None), (0, None)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no image"),
        ("\n \n", "names no image"),
        ("a.png 1\nb.png\n", r"1 of 2 lines have no label.*first is line 2"),
        ("a.png 1\n\nb.png -1\n", r"line 3: label -1. Labels are >= 0"),
        ("a.png -2\nb.png -2\n", r"line 1: label -2"),
        ("a.png 1\nb.png 3\n", r"number of class names, 3, got 3 for b\.png"),
    ],
)
def test_a_bad_list_is_refused(tmp_path, text, message):
    root = write(tmp_path, "a.png", "b.png")
    with pytest.raises(ValueError, match=message):
        listed(root, text, class_names=("x", "y", "z"))


def test_missing_files_are_listed_together(tmp_path):
    root = write(tmp_path, "a.png")
    text = "a.png 0\n" + "".join(f"gone/{i}.png 0\n" for i in range(8))
    with pytest.raises(
        FileNotFoundError,
        match=r"8 of the 9 files .*list\.txt.*: gone/0\.png, .*4\.png and 3 more\.",
    ):
        listed(root, text)


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt"):
        ImageFolder(write(tmp_path, "a.png"), file_list=tmp_path / "nowhere.txt")


# What else is wrong


@pytest.mark.parametrize(
    ("paths", "options", "message"),
    [
        ([], {}, "there is no image in .*images end in .bmp"),
        (["cat/a.png", "b.png"], {}, r"in folders and 1 beside them \(b\.png\)"),
        (["cat/a.png", "empty/.x.png"], {}, "class folders without images.*: empty"),
        (
            ["cat/a.png", "dgo/b.png"],
            {"class_names": ("cat", "dog")},
            "not in class_names: dgo. class_names are cat, dog",
        ),
        (["a.png"], {"labelled": True}, "labelled=True, but .* no labels"),
        (["cat/a.png"], {"folders": ["cat"], "file_list": "l"}, "not both"),
        (["cat/a.png", "emu/.x"], {"folders": ["cat", "emu"]}, "no image in .*emu"),
        (
            ["cat/a.png"],
            {"folders": ["cat"], "class_names": "ab"},
            "one class name per folder, got 2 names for 1 folders",
        ),
    ],
)
def test_a_folder_that_cannot_be_understood_is_refused(
    tmp_path, paths, options, message
):
    with pytest.raises(ValueError, match=message):
        ImageFolder(write(tmp_path, *paths), **options)


def test_missing_folders_and_broken_links_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        ImageFolder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"no folder .*emu"):
        ImageFolder(write(tmp_path, "cat/a.png"), folders=["cat", "emu"])
    (tmp_path / "cat/b.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(FileNotFoundError, match=r"cat/b\.png is a link to nothing"):
        ImageFolder(tmp_path)


def test_a_corrupt_image_is_named_when_it_is_read(tmp_path):
    root = write(tmp_path, "a.png", "b.png")
    (root / "b.png").write_bytes((root / "b.png").read_bytes()[:30])
    source = ImageFolder(root)
    source[0]
    with pytest.raises(decoding.ImageError, match=rf"{root}/b\.png"):
        source[1]


# Fingerprints and processes


def test_the_fingerprint_tells_files_labels_and_preprocessing_apart(tmp_path):
    root = write(tmp_path, "cat/a.png", "dog/b.png")
    texts = [ImageFolder(root).fingerprint()]
    assert ImageFolder(root, preprocessing=None).fingerprint() == texts[0]
    texts.append(ImageFolder(root, preprocessing=FIT).fingerprint())
    texts.append(ImageFolder(root, class_names=("dog", "cat")).fingerprint())
    texts.append(ImageFolder(root, labelled=False).fingerprint())
    status = os.stat(root / "cat/a.png")  # another content of the same size
    os.utime(root / "cat/a.png", ns=(status.st_atime_ns, status.st_mtime_ns + 1000))
    texts.append(ImageFolder(root).fingerprint())
    os.rename(root / "cat/a.png", root / "cat/c.png")
    texts.append(ImageFolder(root).fingerprint())
    assert len(set(texts)) == len(texts)


def test_it_can_be_sent_to_a_worker(tmp_path):
    source = ImageFolder(write(tmp_path, "cat/a.png", "dog/b.png"), preprocessing=FIT)
    copy = pickle.loads(pickle.dumps(source))
    assert values(copy) == values(source)
    assert copy.fingerprint() == source.fingerprint()


def test_real_photographs_in_class_folders(data_dir):
    fit = jood.Preprocessing((0.5,) * 3, (0.5,) * 3, resize=64, crop=56)
    source = ImageFolder(data_dir / "images/textures", preprocessing=fit)
    assert len(source) == 60
    assert len(source.class_names) == len(set(source.labels)) == 10
    assert source[59]["image"].shape == (56, 56, 3)
    assert os.path.basename(os.path.dirname(source[0]["name"])) == source.class_names[0]
