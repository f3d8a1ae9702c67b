"""Features of the counted network, as tests of the cache begin with them."""

import pathlib
import shutil

from helpers.counted_network import fit
import pytest


@pytest.fixture(scope="module")
def _filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filled")
    return folder, fit(cache=folder)[0]


@pytest.fixture
def filled(_filled, tmp_path):
    """A folder with the complete features of `data()`, and what was fitted on them."""
    folder, fitted = _filled
    return pathlib.Path(shutil.copytree(folder, tmp_path / "filled")), fitted
