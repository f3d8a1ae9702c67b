"""The clone that the tests run in."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
