"""The page about CLIP: its models, detectors and rows exist."""

import re

from helpers.jobs import ROOT

import jood
from jood import models
from jood import papers
from jood.papers import given_networks

PAGE = (ROOT / "docs" / "clip.md").read_text()


def test_models_detectors_and_rows_exist():
    asked = set(re.findall(r"clip_vit_\w+", PAGE))
    assert asked <= set(models.names())
    table = papers.table("ssod", "1")
    rows = {row.name for part in table.parts for row in part.rows}
    assert set(re.findall(r"(?:MCM|MSP) \(CLIP-\w\)", PAGE)) <= rows
    for text in re.findall(r"^\| `([^|]*)` \|", PAGE.split("## Detectors")[1], re.M):
        for one in re.findall(r"\w+\(\)", text):
            assert jood.parse(one).slot == "score"


def test_the_classifier_is_trained_elsewhere_under_the_name_of_the_table():
    keys = given_networks.keys(papers.table("ssod", "1"))
    assert "imagenet/clip_vit_b16+linear_probe" in keys
    assert "clip_vit_b16+linear_probe=" in PAGE
