"""Every component satisfies the contract; they are found by themselves."""

import pytest

from jood import spec
from jood import testing

FACTORIES = spec.factories()
CHECKS = dict(testing.component_checks())


@pytest.mark.parametrize("name", FACTORIES)
@pytest.mark.parametrize("check", CHECKS)
def test_contract(name, check):
    CHECKS[check](FACTORIES[name])
