"""Grids of the methods that lead OpenOOD's tables, for `jood.select`.

    jood.select(*leading_grids.GRIDS["LTS"], detector, train, validation)

Each row's values lie around its authors' own, which are among them. RAS and CADRef
have nothing to choose.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class MethodGrid(NamedTuple):
    """A method with free names, and the values to try for each."""

    method: str
    values: Mapping[str, tuple[Any, ...]]


_ADASCALE = {"lam": (1.0, 10.0, 100.0), "eps": (0.1, 0.5)}
_BETA = {"beta": (0.25, 0.5, 0.75, 1.0)}

GRIDS = {
    "MDS++": MethodGrid("normalise(beta=beta)|mahalanobis()", _BETA),
    "RMDS++": MethodGrid("normalise(beta=beta)|relative_mahalanobis()", _BETA),
    "LTS": MethodGrid("lts(q=q)|energy()", {"q": (0.8, 0.85, 0.9, 0.95, 0.98)}),
    "AdaSCALE-A": MethodGrid("adascale_a(lam=lam, eps=eps)|energy()", _ADASCALE),
    "AdaSCALE-L": MethodGrid("adascale_l(lam=lam, eps=eps)|energy()", _ADASCALE),
    "OptFS": MethodGrid("optfs(bins=bins)|energy()", {"bins": (25, 50, 100, 200)}),
    "ActSub": MethodGrid(
        "actsub(q=q, lam=lam)", {"q": (0.85, 0.9, 0.95, 0.975), "lam": (0.5, 1.0, 2.0)}
    ),
    "Relation": MethodGrid(
        "relation(power=power, least=least)",
        {"power": (1.0, 2.0, 4.0, 8.0), "least": (0.0, 0.03, 0.1)},
    ),
    "WeiPer+KLD": MethodGrid(
        "weiper_kld(delta=delta, lam1=lam1, draws='shared')",
        {"delta": (0.9, 1.8, 3.6), "lam1": (0.5, 2.5, 5.0)},
    ),
    "NAC-UE": MethodGrid(
        "nac(O=bin, alpha=alpha)",
        {"bin": (10, 50, 200), "alpha": (1.0, 10.0, 100.0, 1000.0)},
    ),
    "CombOOD": MethodGrid("combood(k=k)", {"k": (1, 10, 50, 100)}),
}
