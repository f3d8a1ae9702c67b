"""Components that rewrite what a score reads: stage maps, features, head, logits.

A new one is a file here and a line below; the parser, the contract tests and the
command line find it through `__all__`.
"""

import inspect

from jood.methods.transforms.adascale import adascale_a as adascale_a
from jood.methods.transforms.adascale import adascale_l as adascale_l
from jood.methods.transforms.ash import ash_b as ash_b
from jood.methods.transforms.ash import ash_p as ash_p
from jood.methods.transforms.ash import ash_s as ash_s
from jood.methods.transforms.bats import bats as bats
from jood.methods.transforms.dice import dice as dice
from jood.methods.transforms.feature_mask import feature_mask as feature_mask
from jood.methods.transforms.fitted_temperature import (
    fitted_temperature as fitted_temperature,
)
from jood.methods.transforms.line import line as line
from jood.methods.transforms.lts import lts as lts
from jood.methods.transforms.normalise import normalise as normalise
from jood.methods.transforms.optfs import optfs as optfs
from jood.methods.transforms.prototype import prototype_smoothing as prototype_smoothing
from jood.methods.transforms.ras import ras as ras
from jood.methods.transforms.react import react as react
from jood.methods.transforms.scale import scale as scale
from jood.methods.transforms.t2f_scale import t2f_scale as t2f_scale
from jood.methods.transforms.ta import ta as ta
from jood.methods.transforms.temperature import temperature as temperature
from jood.methods.transforms.vra import vra as vra

__all__ = tuple(
    sorted(name for name, value in vars().items() if inspect.isfunction(value))
)
