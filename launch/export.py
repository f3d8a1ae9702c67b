r"""Writes a detector as one file, which runs without jood: `Detector.export`.

    jood export --detector=detectors/mine --output=mine.zip
    python mine.zip photo.jpg

The file holds the network, its weights, the method, thresholds and how images are
resized; it needs jax, flatbuffers, numpy and pillow. docs/deployment.md says
more, docs/serving.md how to serve it over HTTP (jood serve).
"""

import pathlib

from absl import flags

from jood import cli
from jood._utils import atomic_files
from jood.deploy import requirements
from jood.detector import Detector
from jood.detector import image_shapes

_DETECTOR = flags.DEFINE_string(
    "detector", None, "Folder of jood fit or Detector.save.", required=True
)
_OUTPUT = cli.define_output(help="New file, usually '.zip'.")
_TPR = flags.DEFINE_float(
    "tpr", None, "Share of ID images to keep; else what the detector was made with."
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size",
    None,
    "Side in pixels of the images that the network takes; else as it was fitted or "
    "calibrated.",
    lower_bound=1,
)
_DRY_RUN = cli.define_dry_run()


def main(argv: list[str]) -> None:
    """Opens the detector and exports it."""
    del argv
    atomic_files.check_new(_OUTPUT.value)
    detector = Detector.load(_DETECTOR.value)
    if _TPR.value is not None:
        detector = requirements.with_tpr(detector, _TPR.value)
    shape = _image_shape(detector)
    text = f"{detector.component.spec} for images {' x '.join(map(str, shape))}"
    if _DRY_RUN.value:
        cli.would(f"export {text}", f"write {_OUTPUT.value}")
        return
    detector.export(_OUTPUT.value, shape)
    size = pathlib.Path(_OUTPUT.value).stat().st_size
    print(f"exported {text}: {_OUTPUT.value}, {size / 1e6:.1f} MB")
    if detector.calibration is None:
        print("the detector is not calibrated: the file gives scores, and no is_ood")
    print(f"score images with it: python {_OUTPUT.value} photo.jpg")


def _image_shape(detector: Detector) -> tuple[int, ...]:
    """(H, W, C) of the images that the network takes."""
    known = image_shapes.known(detector.preprocessing, detector.image_shape)
    side, how = _IMAGE_SIZE.value, detector.preprocessing
    if known is not None and side not in (None, *known[:2]):
        raise ValueError(
            f"--image_size={side}, but the detector takes images of {known[:2]} "
            "pixels: leave --image_size out."
        )
    if known is not None:
        return known
    if side is None:
        raise ValueError(
            f"{_DETECTOR.value} was neither fitted nor calibrated, so it does not say "
            "how large its images are: give --image_size."
        )
    return side, side, 3 if how is None else len(how.mean)


if __name__ == "__main__":
    cli.run(main)
