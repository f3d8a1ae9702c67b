"""Components that rewrite what a score reads: stage maps, features, head, logits.

A new one is a file here and a line below; the parser, the contract tests and the
command line find it through `__all__`.
"""

from jood.transforms.ash import ash_b as ash_b
from jood.transforms.ash import ash_p as ash_p
from jood.transforms.ash import ash_s as ash_s
from jood.transforms.react import react as react
from jood.transforms.ta import ta as ta
from jood.transforms.temperature import temperature as temperature

__all__ = ("ash_b", "ash_p", "ash_s", "react", "ta", "temperature")
