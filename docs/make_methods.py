"""Writes docs/methods.md, the table of all methods, from the code itself.

    python docs/make_methods.py

The suite compares the page with what this prints, so it cannot drift.
"""

from collections.abc import Callable
import inspect
import pathlib
import re

from jood import presets
from jood.core.component import Component
from jood.methods import detector_text

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "methods.md"

# Peers in the golden files of a chain that begins with the method; tests/golden_test.py
# compares whatever the files hold.
_GOLDEN = {
    "actsub": "actsub",
    "actsub_gen": "actsub",
    "adascale_a": "openood",
    "adascale_l": "openood",
    "ash_b": "ash openood pytorch_ood",
    "ash_p": "ash openood pytorch_ood",
    "ash_s": "ash openood pytorch_ood",
    "bats": "bats",
    "cadref": "cadref",
    "caref": "cadref",
    "combood": "combood",
    "dice": "dice openood pytorch_ood",
    "doctor_alpha": "detectors doctor",
    "doctor_beta": "doctor",
    "energy": "detectors gen gradnorm oodeel openood pytorch_ood vim",
    "entropy": "gen oodeel pytorch_ood",
    "fdbd": "fdbd openood pytorch_ood",
    "feature_norm": "featurenorm",
    "gen": "gen oodeel openood pytorch_ood",
    "grad_uncertainty": "pytorch_ood",
    "gradnorm": "detectors gradnorm openood pytorch_ood",
    "gram_deviation": "openood",
    "iodin": "openood",
    "klm": "openood pytorch_ood",
    "knn": "detectors knn-ood nnguide oodeel openood pytorch_ood",
    "line": "line",
    "lts": "lts pytorch_ood",
    "mahalanobis": "maha oodeel openood pytorch_ood",
    "mahalanobis_ensemble": "maha pytorch_ood",
    "max_cosine": "detectors",
    "max_logit": "detectors gen oodeel openood pytorch_ood vim",
    "mcm": "mcm openood_vlm",
    "msp": "detectors gen gradnorm odin openood pytorch_ood vim",
    "nac": "nac",
    "nci": "openood pytorch_ood",
    "neglabel": "neglabel",
    "nnguide": "nnguide openood pytorch_ood",
    "normalise": "maha-norm openmibood",
    "odin": "bats gradnorm maha odin oodeel openood pytorch_ood react",
    "openmax": "openood",
    "optfs": "cadref optfs",
    "rankfeat": "openood pytorch_ood rankfeat",
    "ras": "ras",
    "react": "ash detectors gen oodeel openood pytorch_ood rankfeat react vim",
    "relation": "openood relation",
    "relative_cosine": "ninco",
    "relative_mahalanobis": "oodeel openood pytorch_ood",
    "residual": "gen openood vim",
    "scale": "openood pytorch_ood scale",
    "she": "openood pytorch_ood she",
    "temperature": "pytorch_ood",
    "vim": "detectors gen openood pytorch_ood vim",
    "vra": "openood",
    "weighted_energy": "pytorch_ood",
    "weiper_kld": "weiper",
}

_HEAD = """# Methods

Written by `docs/make_methods.py` from the code; do not edit.

- **slot**: what it rewrites (stage → feature → head → logit), or `score`. Parts are
  chained in that order: `ta(k=0.2)|react(q=0.9)|energy()`.
- **fits**: what it learns from the training data, and in how many sweeps; `–` learns
  nothing. The network runs in the first sweep; later ones read kept features, except
  what reads maps or changed images.
- **cost**: what of the network it needs beyond the one plain pass that all methods
  share. Equal needs are run once, however many methods have them.
- **golden**: independent implementations whose scores it reproduces on fixed inputs (to
  1e-4 of their standard deviation, exceptions in `tests/helpers/golden_cases.py`
  and `golden_leading.py`).

| method | slot | what | fits | cost | paper | presets | golden |
|---|---|---|---|---|---|---|---|
"""


def page() -> str:
    """Returns the page's text."""
    rows = [
        row(name, factory)
        for name, factory in sorted(detector_text.factories().items())
    ]
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return _HEAD + "\n".join(lines) + "\n" + _presets()


def row(name: str, factory: Callable[..., Component]) -> list[str]:
    """Returns the cells of one method."""
    part = factory()
    document = inspect.getdoc(factory) or ""
    return [
        f"`{name}({_signature(factory)})`",
        part.slot,
        _escaped(document.split("\n")[0].rstrip(".")),
        _escaped(_fits(part, document)),
        _cost(part),
        _escaped(_paper(document)),
        ", ".join(f"`{p}`" for p, text in presets.PRESETS.items() if _uses(text, name))
        or "–",
        ", ".join(_GOLDEN.get(name, "").split()) or "–",
    ]


def _signature(factory: Callable[..., Component]) -> str:
    parameters = inspect.signature(factory).parameters.values()
    return ", ".join(f"{p.name}={p.default!r}" for p in parameters)


def _fits(part: Component, document: str) -> str:
    """What the docstring says that it fits, and the number of sweeps."""
    if not part.passes:
        return "–"
    words = " ".join(document.split())
    end = r",? in \w+ pass(?:es)?\b| unless |\. "
    match = re.search(rf"\bIt (?:also )?fits (.+?)(?:{end})", words)
    what = match[1] if match else "values"
    return f"{what} ({len(part.passes)})"


def _cost(part: Component) -> str:
    """The stage edits and the gradients that it asks of the network."""
    if part.needs_network:
        return "looks at changed images"
    stages = sorted({path[0].stage for path in part.edits})
    return " and ".join(f"layers after {stage}" for stage in stages) or "–"


def _paper(document: str) -> str:
    """The first reference of a docstring."""
    _, _, references = document.partition("References:\n")
    first = re.split(r";|\n\n|\. \(", references)[0]
    return " ".join(first.split()).rstrip(".")


def _uses(text: str, name: str) -> bool:
    """Whether a preset's template calls a method."""
    filled = text.replace("{himplos}", presets.HIMPLOS)
    return re.search(rf"\b{name}\(", filled) is not None


def _presets() -> str:
    lines = [
        f"| `{name}` | `{_escaped(presets.preset(name))}` |" for name in presets.PRESETS
    ]
    return (
        "\n## Presets\n\nWith ImageNet's values; "
        "`jood.parse(name, benchmark, backbone)` fills in those of another benchmark "
        "and network (`jood/methods/preset_values.py`), and "
        "`paper='feature_sim'` those of a paper's own tables "
        "(`jood/methods/paper_values.py`).\n\n"
        "`fs_ta_gradnorm` reads Feature Sim's λ = 0.4 as the weight of a GradNorm that "
        "is a mean over the features as well as the classes: then the spreads of both "
        "terms agree, as the paper asks; with the sum the fusion is GradNorm alone.\n\n"
        "| preset | text |\n|---|---|\n" + "\n".join(lines) + "\n"
    )


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"written to {PAGE}")
