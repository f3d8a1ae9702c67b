"""The network of launch/demo.py, for tests that skip where its package is missing."""

import functools

import pytest

from jood.deploy.demo import imagenet_network


@functools.cache
def open_or_skip():
    """Returns the network; the extra `demo` has its weights."""
    try:
        return imagenet_network.open()
    except ValueError as error:
        pytest.skip(str(error))
