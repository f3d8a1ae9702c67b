"""What a family of models is: a Linen class and its named variants.

A family is one record in the file of its class and one entry in `jood.models`;
`jood.models.register` adds one from outside.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from flax import linen as nn


class Family(NamedTuple):
    """A class of classifiers.

    Attributes:
      module_class: Its fields are JSON values (tuples count as lists), so that a saved
        network can be described; one of them is `num_classes`, and `dtype` for what
        launch/train.py trains. The classifier is a `Dense` named 'head'.
      models: Constructors by the names of variants, taking fields by keyword.
      fewest_classes: 0 for a class that can be a backbone without a head.
    """

    module_class: type[nn.Module]
    models: Mapping[str, Callable[..., nn.Module]]
    fewest_classes: int = 1
