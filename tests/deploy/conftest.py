"""A folder of gray images, and a job that scores it in small steps."""

from helpers import brightness
from helpers.scored_folder import LEVELS
import pytest

from jood.deploy import score_job


@pytest.fixture
def small_shards(monkeypatch):
    """Shards of two batches; and no pictures, which take most of the time."""
    monkeypatch.setattr(score_job, "SHARD_BATCHES", 2)
    monkeypatch.setattr(score_job.figures, "save_pictures", lambda *_: None)


@pytest.fixture
def images(tmp_path):
    return brightness.folder(tmp_path / "images", LEVELS)
