"""The table of scored images: a row each, as Arrow, Parquet or CSV.

    path,class,score,threshold,is_ood,p_value,error
    traffic/0001.jpg,bee,7.12,3.4,false,0.31,
    traffic/0002.jpg,,,3.4,,,its content is of none of the formats ...

A bundle has the columns `score` to `p_value` once per detector, as 'score_NAME'. An
image that cannot be read has an error and no score. A path is written as
`csv_text.path` says.
"""

from collections.abc import Iterable, Mapping, Sequence
import pathlib

import numpy as np
import pyarrow as pa

from jood._utils import csv_text
from jood._utils import unicode_text
from jood.detector import SINGLE
from jood.detector.class_calibration import AnyCalibration
from jood.detector.class_calibration import ClassCalibration
from jood.detector.streaming import Scored

PATH, CLASS, ERROR = "path", "class", "error"
Q_VALUE = "q_value"  # of all images together, so added at the end
_OF_SCORE = {
    "score": pa.float32(),
    "threshold": pa.float64(),
    "is_ood": pa.bool_(),
    "p_value": pa.float64(),
}


def column(name: str, what: str) -> str:
    """Returns the column of a detector's 'score', 'threshold', 'is_ood', 'p_value'."""
    return what if name == SINGLE else f"{what}_{name}"


def schema(names: Iterable[str], judged: Iterable[str] = ()) -> pa.Schema:
    """Returns the columns of a table for detectors of these names.

    Those of `judged` have q-values, too.
    """
    own = [(column(n, what), kind) for n in names for what, kind in _OF_SCORE.items()]
    own += [(column(name, Q_VALUE), pa.float64()) for name in judged]
    texts = [(name, pa.string()) for name in (PATH, CLASS, ERROR)]
    return pa.schema([*texts[:2], *own, texts[2]])


def of_batch(
    scored: Scored,
    paths: Sequence[str],
    calibration: AnyCalibration,
    class_names: Sequence[str] | None,
) -> pa.Table:
    """Returns the rows of a batch.

    Args:
      scored: The detector's results for the batch.
      paths: The names of its images.
      calibration: The detector's calibration.
      class_names: One name per class; None prints numbers.
    """
    errors = [scored.skipped.get(scored.first + i, "") for i in range(len(paths))]
    unread = np.array([error != "" for error in errors], bool)
    classes = [
        "" if error else str(label) if class_names is None else class_names[label]
        for label, error in zip(scored.prediction.tolist(), errors, strict=True)
    ]
    p_values = calibration.p_values(scored.scores, scored.prediction)
    thresholds = calibration.thresholds_of(scored.prediction)
    # An image that cannot be read has no class, whose threshold could be named.
    unknown = unread if isinstance(calibration, ClassCalibration) else None
    own = []
    for name, threshold in thresholds.items():
        scores = scored.scores[name]
        own += [
            pa.array(scores, pa.float32(), mask=unread),
            pa.array(threshold, mask=unknown),
            pa.array(scores < threshold, mask=unread),
            pa.array(p_values[name], mask=unread),
        ]
    return pa.table(
        [
            list(map(csv_text.path, paths)),
            list(map(unicode_text.encodable, classes)),
            *own,
            list(map(unicode_text.encodable, errors)),
        ],
        schema(thresholds),
    )


def of_broken(broken: Mapping[str, str], calibration: AnyCalibration) -> pa.Table:
    """Returns a row with the path and the error of each archive that is broken."""
    columns = schema(calibration.scores)
    texts = {
        PATH: list(map(csv_text.path, broken)),
        CLASS: [""] * len(broken),
        ERROR: list(map(unicode_text.encodable, broken.values())),
    }
    nothing = [None] * len(broken)
    return pa.table([texts.get(name, nothing) for name in columns.names], columns)


def write_csv(
    path: pathlib.Path, columns: pa.Schema, tables: Iterable[pa.Table]
) -> None:
    """Writes tables as one CSV file whose texts give back every float32."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv_text.Writer(file)
        writer.writerow(columns.names)
        for table in tables:
            writer.writerows(zip(*map(_texts, table.columns), strict=True))


def _texts(values: pa.ChunkedArray) -> list[str]:
    if pa.types.is_string(values.type):
        return values.to_pylist()
    if pa.types.is_boolean(values.type):
        text = {True: "true", False: "false", None: ""}
        return [text[value] for value in values.to_pylist()]
    return ["" if x is None else f"{x:.9g}" for x in values.to_pylist()]
