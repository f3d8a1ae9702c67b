"""The false discovery rate of a scoring job: all its images are judged together.

A q-value depends on every image of the job, so it joins the table when all shards are
there; see `jood.detector.false_discoveries`.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa

from jood.deploy import shards
from jood.deploy import table
from jood.detector import false_discoveries
from jood.detector.class_calibration import AnyCalibration


def of_job(job: shards.Shards, calibration: AnyCalibration) -> dict[str, pa.Array]:
    """Returns the q-values of all images, by detector name; null where unreadable."""
    columns = {}
    for name in calibration.scores:
        p_values = job.column(table.column(name, "p_value"))
        unread = p_values.is_null().to_numpy()
        values = np.zeros(len(unread))
        values[~unread] = false_discoveries.q_values(p_values.drop_null().to_numpy())
        columns[name] = pa.array(values, mask=unread)
    return columns


def discovered(q_values: Mapping[str, pa.Array], fdr: float) -> dict[str, int]:
    """Returns how many images are OOD at a false discovery rate, by detector name."""
    return {
        name: int(false_discoveries.within(each.drop_null().to_numpy(), fdr).sum())
        for name, each in q_values.items()
    }


def added(
    tables: Iterable[pa.Table], q_values: Mapping[str, pa.Array]
) -> Iterator[pa.Table]:
    """Yields consecutive parts of a table, with a column more per detector.

    Args:
      tables: The parts, in their order.
      q_values: A value or null per row of the whole table, by detector name; {} adds
        nothing.
    """
    start = 0
    for part in tables:
        rows, count = part, len(part)
        for name, values in q_values.items():
            place = rows.num_columns - 1  # before the errors
            own = values.slice(start, count)
            rows = rows.add_column(place, table.column(name, table.Q_VALUE), own)
        start += count
        yield rows
