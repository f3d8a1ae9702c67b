"""What the papers sweep: TA's k, λ, HIMPLoS's mask and clip, on their grids.

Feature Sim's Fig. 4 and 5 and Table 7 (λ, k), HIMPLoS's Fig. 6 and 7 (clip, masking
fraction); `jood.evaluation.hyperparameter_curves` draws them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jood.evaluation import paper_grids
from jood.methods import detector_text
from jood.methods import preset_values

NAMES = ("k", "lambda", "lambda_odin", "mask", "clip", "clip_value")
# Feature Sim, Table 7: 26 values. Fig. 4 varies λ around the paper's; a decade either
# way. HIMPLoS, Fig. 7 and 6: p from 0, and clips up to 2 in units of the feature.
_K = tuple(k / 50 for k in range(26))
_LAMBDA_ODIN = (130.0, 230.0, 410.0, 730.0, 1300.0, 2300.0, 4100.0, 7300.0, 13000.0)
_MASK = (0.0, *paper_grids.MASK)
_SYMBOLS = {"mask": "masked fraction", "clip": "clip (quantile)"}
_CLIP_VALUE = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0)


class Sweep(NamedTuple):
    """What is swept.

    Attributes:
      name: one of `NAMES`, or of an objective's values.
      title: the heading.
      methods: texts by row name, in which `value` stands for what is swept; a text
        without it is a level to compare with, and scored once.
      rewrite: a text without a score, whose logits decide the ID task; '' if the value
        does not change them.
      values: the grid, numbers or words.
      usual: the paper's value for the benchmark and network, or None.
    """

    name: str
    title: str
    methods: Mapping[str, str]
    rewrite: str
    values: Sequence[float | str]
    usual: float | str | None

    @property
    def symbol(self) -> str:
        """The name as it is read: a weight is λ."""
        if self.name.startswith("lambda"):
            return "λ"
        return _SYMBOLS.get(self.name, self.name.replace("_", " "))


def value_text(value: float | str) -> str:
    """Returns a value of a grid as it is shown."""
    return value if isinstance(value, str) else f"{value:g}"


def sweeps(benchmark: str, backbone: str = "") -> dict[str, Sweep]:
    """Returns the papers' sweeps around the values of a benchmark and a network."""
    usual = preset_values.values(benchmark, backbone)
    k, clip, mask, line = (usual[name] for name in ("k", "clip", "mask", "line"))
    line_clipped = f"line({line.rpartition('clip=')[0]}clip=value)|energy()"
    himplos = "feature_mask(q={})|react({})|prototype_smoothing()"
    by_mask = himplos.format("value", clip)
    by_clip = himplos.format(mask, "q=value")
    by_raw_clip = himplos.format(mask, "clip=value")
    fused = "fuse(feature_sim(), {}(), weights={})"
    name, _, number = clip.partition("=")
    every = (
        Sweep(
            "k",
            "Threshold Activation's k (Feature Sim, Fig. 5 and Table 7)",
            {
                "FS+TA": "ta(k=value)|feature_sim()",
                "Energy+TA": "ta(k=value)|energy()",
                "Energy+TA+FS": "ta(k=value)|"
                + fused.format("energy", usual["energy"]),
            },
            "ta(k=value)",
            _K,
            float(k),
        ),
        Sweep(
            "lambda",
            "The weight λ of the fused score (Feature Sim, Fig. 4)",
            {
                "Energy+TA+FS": f"ta(k={k})|{fused.format('energy', '(1, value)')}",
                "MSP+TA+FS": f"ta(k={k})|{fused.format('msp', '(1, value)')}",
            },
            "",
            paper_grids.LAMBDA,
            None,
        ),
        Sweep(
            "lambda_odin",
            "The weight λ of ODIN in the fused score (Feature Sim, Fig. 4)",
            {"ODIN+TA+FS": f"ta(k={k})|{fused.format('odin', '(1, value)')}"},
            "",
            _LAMBDA_ODIN,
            None,
        ),
        Sweep(
            "mask",
            "HIMPLoS's masked fraction of the features (HIMPLoS, Fig. 7)",
            {"HIMPLoS": f"{by_mask}|energy()", "LINE": f"line({line})|energy()"},
            by_mask,
            _MASK,
            float(mask),
        ),
        Sweep(
            "clip",
            "The clip, as a quantile of ID activations",
            {"HIMPLoS": f"{by_clip}|energy()", "ReAct": "react(q=value)|energy()"},
            by_clip,
            paper_grids.CLIP,
            float(number) if name == "q" else None,
        ),
        Sweep(
            "clip_value",
            "The clip, in units of the feature (HIMPLoS, Fig. 6)",
            {"HIMPLoS": f"{by_raw_clip}|energy()", "LINE": line_clipped},
            by_raw_clip,
            _CLIP_VALUE,
            float(number) if name == "clip" else None,
        ),
    )
    return {sweep.name: sweep for sweep in every}


def with_values(sweep: Sweep, values: Sequence[float]) -> Sweep:
    """Returns a sweep with values of the user's own, in ascending order.

    Raises:
      ValueError: There is none, one is given twice, or a method refuses one.
    """
    if not values or len(set(values)) < len(values):
        raise ValueError(f"the sweep {sweep.name} needs values, each once: {values}.")
    for value in values:
        for row, text in sweep.methods.items():
            try:
                detector_text.parse(text, variables={"value": value})
            except ValueError as error:
                raise ValueError(
                    f"{sweep.name} = {value:g} is not a valid value for {row}: {error}"
                ) from error
    return sweep._replace(values=tuple(sorted(values)))


def usual_values(benchmark: str, backbone: str = "") -> dict[str, str]:
    """Returns where the values that `sweeps` sweeps around come from, by text."""
    known = preset_values.resolve(benchmark, backbone)
    places = {
        "k": "ta(k={})",
        "energy": "fuse(weights={})",
        "mask": "feature_mask(q={})",
        "clip": "react({})",
    }
    return {at.format(known[n].text): known[n].source for n, at in places.items()}
