"""A plug-in: the model `resnet_narrow`, for jobs of whose training little is asked.

A job takes it with `*FLAGS`. A test that opens such a network registers `FAMILY` for as
long: this module, imported as a helper, does not.
"""

import functools
import pathlib

import jood
from jood.models import resnet
from jood.models.family import Family

FLAGS = (f"--plugins={pathlib.Path(__file__).resolve()}", "--model=resnet_narrow")


class NarrowResNet(resnet.ResNet):
    """A ResNet of a class of its own, as a plug-in's has to be."""


_FIELDS = {"stage_sizes": (1, 1, 1), "width": 4, "stem": "strided"}
_MODELS = {"resnet_narrow": functools.partial(NarrowResNet, **_FIELDS)}
FAMILY = Family(NarrowResNet, _MODELS)
if __name__ != "helpers.narrow_model":  # but a job's plug-in
    jood.register(FAMILY)
