"""The pictures of a network before and after fine-tuning, in the order of the page.

Each is drawn from `FinetuningResults`.
"""

from jood.report.finetuning import plots
from jood.report.pictures import Picture

PICTURES: list[Picture] = [
    Picture(
        "norms",
        "Feature norms",
        "Distributions of ‖h‖₂, the norm of the penultimate feature, of ID images and "
        "of each OOD set, before and after (LFF's Fig. 5).",
        lambda results: plots.norm_distributions(results.evaluations, plots.NORM),
    ),
    Picture(
        "heatmaps",
        "Where the network responds",
        "‖z_j‖₂ at each location of the last map, before and after (LFF's Fig. 7). "
        "Each row has its own colour scale.",
        lambda results: plots.norm_heatmaps(results.benchmark, results.networks),
    ),
    Picture(
        "patches",
        "Patches that are sampled",
        "Locations that the network takes for the object (green) and for background "
        "(red), before and after (SSOD's Fig. 2).",
        lambda results: plots.patches(
            results.benchmark, results.networks, results.sample
        ),
    ),
]
