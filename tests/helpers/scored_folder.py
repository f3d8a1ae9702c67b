"""Scoring a folder of gray images, what it wrote, and how it is stopped."""

import csv

from helpers import brightness
from jood.data import inputs as inputs_lib
from jood.deploy import requirements
from jood.deploy import score_job
from jood.detector import streaming

LEVELS = list(range(0, 250, 5))  # 50 images


def run(
    images,
    target,
    detector=None,
    batch_size=4,
    identity="one",
    configuration=None,
    **fields,
):
    detector = detector or brightness.detector()
    inputs = inputs_lib.open_inputs(
        str(images), requirements.preprocessing_of(detector)
    )
    config = score_job.ScoreConfig(str(target), batch_size, **fields)
    return score_job.run(
        detector, inputs, config, identity=identity, configuration=configuration
    )


def table(folder):
    with (folder / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def page_of(folder):
    return (folder / "report.html").read_text()


def stop_after(monkeypatch, batches, error):
    """Makes the source fail when so many batches were scored."""
    whole = streaming.scored

    def scored(*arguments, **options):
        for count, part in enumerate(whole(*arguments, **options)):
            if count == batches:
                raise error
            yield part

    monkeypatch.setattr(score_job.streaming, "scored", scored)
