"""The image lists of OpenOOD v1.5, as sets of `jood.data.benchmarks.openood`.

A list is `benchmark_imglist/<benchmark>/<list>.txt`; what it names lies below
`images_classic` or `images_largescale`, in the folder of one data set, as OpenOOD's
downloader leaves it. Without that folder the set is absent, though its list is there.

References:
  Jingkang50/OpenOOD: configs/datasets, openood/evaluation_api/datasets.py,
  scripts/download/download.py.
"""

from collections.abc import Mapping, Sequence

from jood.data.benchmarks.set_spec import Place
from jood.data.benchmarks.set_spec import SetSpec

URL = "https://github.com/Jingkang50/OpenOOD"
CLASSIC, LARGE = "images_classic", "images_largescale"


def listed(
    lists: str | Sequence[str],
    folder: str,
    root: str,
    title: str,
    size: int | None,
    like: SetSpec | None = None,
    *,
    name: str = "",
    url: str = URL,
    licence: str = "the terms of its source",
    whole: bool = False,
) -> SetSpec:
    """Returns the images of a list.

    Args:
      lists: Places of the list below benchmark_imglist, without '.txt'.
      folder: Folder of the data set below `root`, without which it is absent.
      root: Folder that the list's paths are relative to, `CLASSIC` or `LARGE`.
      title: A short description, for people.
      size: Number of lines; None where no source gives it.
      like: A set whose origin and terms it has.
      name: Name of its column; '' for the folder's.
      url: Its origin, where it is like none.
      licence: Its terms, where it is like none.
      whole: Whether the images are neither resized nor cropped.
    """
    lists = (lists,) if isinstance(lists, str) else lists
    needed = f"{root}/{folder}"
    return SetSpec(
        name=name or folder,
        title=title,
        size=size,
        places=[
            Place("image_list", f"benchmark_imglist/{path}.txt", root, images=needed)
            for path in lists
        ],
        url=like.url if like else url,
        licence=like.licence if like else licence,
        how=f"OpenOOD's scripts/download/download.py lays it out: {URL}",
        whole=whole,
    )


def id_sets(
    name: str,
    title: str,
    folder: str,
    root: str,
    sizes: Mapping[str, int],
    licence: str,
) -> dict[str, SetSpec]:
    """Returns the ID sets by split, 'train', 'val' and 'test', of these `sizes`."""
    words = {"train": "train", "val": "validation", "test": "test"}
    url = f"{URL}/tree/main/configs/datasets/{name}"
    return {
        split: listed(
            f"{name}/{split}_{name}",
            folder,
            root,
            f"{title} {words[split]}, OpenOOD's list",
            size,
            name=f"{name}_{split}",
            url=url,
            licence=licence,
        )
        for split, size in sizes.items()
    }


def shifted(prefix: str, v2: int) -> tuple[SetSpec, ...]:
    """Returns ImageNet-V2 of `v2` images, -C, whose images are shown whole, and -R."""

    def one(folder: str, title: str, size: int | None, url: str) -> SetSpec:
        return listed(
            f"{prefix}_{folder.removeprefix('imagenet_')}",
            folder,
            LARGE,
            title,
            size,
            url=url,
            whole=folder == "imagenet_c",
        )

    return (
        one("imagenet_v2", "ImageNet-V2", v2, "https://imagenetv2.org"),
        one(
            "imagenet_c", "ImageNet-C", None, "https://github.com/hendrycks/robustness"
        ),
        one(
            "imagenet_r", "ImageNet-R", None, "https://github.com/hendrycks/imagenet-r"
        ),
    )
