"""The pictures of `BenchmarkResults` in the order of the page; `register` adds one."""

from jood.report import confidence
from jood.report.benchmark import heatmaps
from jood.report.benchmark import intensity_plots
from jood.report.benchmark import plots
from jood.report.benchmark import sample_plots
from jood.report.pictures import Picture

PICTURES: list[Picture] = [
    Picture(
        "histograms",
        "Score distributions",
        lambda results: (
            "Scores of the ID test set (blue) and of each OOD set (orange), a panel "
            "per detector, each drawn to the same height. The dashed line is the "
            "threshold that keeps 95 % of the ID images: what lies right of it is "
            "taken for ID. Where float32 holds a score too coarsely, its log-odds "
            f"are drawn (MSP).{results.shown_text}"
        ),
        lambda results: plots.histograms(results.first, results.shown),
    ),
    Picture(
        "distributions",
        "Score distributions",
        "One detector's scores of ID images and of those of each OOD set, as shares. "
        "Where the two overlap, no threshold tells them apart; the dashed line is the "
        "one that keeps 95 % of the ID images.",
        lambda results: plots.distributions(
            results.first,
            results.examined,
            confidence.of(results.detectors[results.examined]),
        ),
    ),
    Picture(
        "roc",
        "ROC curves",
        lambda results: (
            "The share of ID images that are accepted against the share of OOD images "
            "that are, for every threshold, a panel per OOD set. The dashed line is "
            "where FPR95 is read; the further a curve is to the upper left, the "
            f"better.{results.shown_text}"
        ),
        lambda results: plots.roc_curves(results.first, results.shown),
    ),
    Picture(
        "heatmaps",
        "What the network looks at",
        lambda results: (
            "Images that were not picked by their score, and "
            f"{results.viewer.caption}, all on one colour scale. FS is the Feature Sim "
            "score: how much the map stands out from its mean. Rows of the table have "
            "a k of their own, which their texts below tell."
        ),
        lambda results: heatmaps.draw(results.benchmark, results.viewer),
    ),
    Picture(
        "tsne",
        "Where features lie",
        "t-SNE of the penultimate features of up to 400 ID test images (dots, one "
        "colour a class where there are at most ten) and of as many OOD images, the "
        "same number of each set (black crosses), embedded together. It keeps who is "
        "near whom, not distances: crosses among the dots are images that resemble ID "
        "images to the network.",
        lambda results: sample_plots.tsne(
            results.samples, class_names=results.benchmark.class_names
        ),
    ),
    Picture(
        "intensities",
        "Intensities of the last map",
        "All intensities of the last feature map of one image, over its channels and "
        "locations (grey), with the mixture of a background and a foreground that is "
        "fitted to them; two images of each set, none picked by its score (Feature "
        "Sim, Fig. 3, 8 and 9). 'apart' is the distance of the means: Feature Sim "
        "rests on it being larger in ID images. The title also has the share of the "
        "intensities in a bar that is cut off, which are mostly zeros. Where the "
        "mixture misses a quarter of the intensities or more, the title says so: its "
        "means are then no guide.",
        lambda results: intensity_plots.draw_benchmark(
            results.benchmark, results.viewer
        ),
    ),
]


def register(picture: Picture) -> None:
    """Adds a picture to the results of every benchmark.

    Raises:
      ValueError: a picture has this stem.
    """
    stems = [other.stem for other in PICTURES]
    if picture.stem in stems:
        raise ValueError(
            f"the stem of the picture {picture.stem!r} is taken; pictures: "
            f"{', '.join(stems)}. Choose another stem."
        )
    PICTURES.append(picture)
