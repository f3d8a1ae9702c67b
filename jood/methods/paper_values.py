"""The values that a paper gives the methods it compares with, in its own tables.

A baseline usually runs with the values of its own paper. Where a paper that compares
it says otherwise ("in all experiments"), that holds for its tables, which
`paper="feature_sim"` asks for. A paper that gives no value of a baseline, as HIMPLoS,
LFF and SSOD do not, leaves it with the method's own.
"""

from collections.abc import Mapping
import types
from typing import NamedTuple

from jood._utils import unknown_name
from jood.methods.published_value import Value
from jood.methods.published_value import published


class PaperValues(NamedTuple):
    """The values that a paper fills into presets in place of the methods' own.

    Attributes:
      everywhere: A `Value` by the placeholder's name; see `preset_values`.
      benchmarks: Further ones by the name of a benchmark.
    """

    everywhere: Mapping[str, Value] = types.MappingProxyType({})
    benchmarks: Mapping[str, Mapping[str, Value]] = types.MappingProxyType({})


PAPERS: dict[str, PaperValues] = {
    "feature_sim": PaperValues(
        published(
            "Feature Sim, App. A.2, 'in all experiments'", knn="1000", dice="0.7"
        ),
        {
            "waterbirds": published(
                "Feature Sim, Tables 5 and 10, where ODIN's row is MSP's: no step",
                eps="0.0",
            ),
            **dict.fromkeys(
                ("cifar10", "cifar10_near", "cifar100", "cifar100_near"),
                published("Feature Sim, App. A.1, one λ for all", odin="(1, 1300)"),
            ),
        },
    ),
    "himplos": PaperValues(),
    "lff": PaperValues(),
    "ssod": PaperValues(),
}


def of(paper: str, benchmark: str) -> dict[str, Value]:
    """Returns a paper's values on a benchmark; {} for '', the methods' own papers.

    Raises:
      ValueError: The paper is neither '' nor one of `PAPERS`.
    """
    if not paper:
        return {}
    if paper not in PAPERS:
        raise unknown_name.unknown("paper", paper, PAPERS)
    known = PAPERS[paper]
    return {**known.everywhere, **known.benchmarks.get(benchmark, {})}
