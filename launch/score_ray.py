r"""Scores images with a saved detector on all machines of a Ray cluster.

    pip install 'jood[ray]'
    jood score_ray --detector=detectors/a --images=photos \
        --output=runs/scores --workers=8
    jood score_ray --detector=/shared/a.zip --images=/shared/paths.parquet \
        --output=/shared/scores --address=auto --workers=64 --gpus_per_worker=1

Each worker scores a shard of the list at a time and writes it whole. A worker that
dies is started again, and the same command resumes a job that was stopped.
docs/deployment.md shows how this runs on a cluster and what it costs.
"""

from collections.abc import Iterator
import itertools
import os
import time
from typing import Any

from absl import flags

import jood
from jood import cli
from jood import extensions
from jood._utils import progress
from jood.deploy import cluster_job

_DETECTOR = flags.DEFINE_string(
    "detector",
    None,
    "Folder of Detector.save or file of Detector.export, which all machines see.",
    required=True,
)
_IMAGES = flags.DEFINE_string(
    "images",
    None,
    "Folder of images; or Parquet file, or folder of such, with paths or images.",
    required=True,
)
_OUTPUT = cli.define_output(
    help="Folder for the scores, which all machines see; a new one, or this job's.",
)
_COLUMN = flags.DEFINE_string("column", "path", "The images' column in the Parquet.")
_SHARD_SIZE = flags.DEFINE_integer(
    "shard_size", 4096, "Images that a worker scores and writes at a time.", 1
)
_BATCH_SIZE = cli.define_batch_size(
    default=64, help="Images that the network sees at once."
)
_WORKERS = cli.define_workers(default=1, help="Worker processes.", lower_bound=1)
_CPUS = flags.DEFINE_integer(
    "cpus_per_worker",
    1,
    "CPU cores of each worker, for decoding images.",
    lower_bound=1,
)
_GPUS = flags.DEFINE_float("gpus_per_worker", 0, "GPUs of each worker.", lower_bound=0)
_ADDRESS = flags.DEFINE_string(
    "address",
    None,
    "Address of a Ray cluster, or 'auto'; else Ray starts on this machine.",
)
_CSV = flags.DEFINE_bool("csv", False, "Also write all scores into scores.csv.")
_PRICE = flags.DEFINE_float(
    "price_per_hour",
    None,
    "Price of all workers together, to print what a million images cost.",
    lower_bound=0,
)
_DRY_RUN = cli.define_dry_run()


def main(argv: list[str]) -> None:
    """Plans the job, lets Ray run what is missing, and checks the whole."""
    del argv
    try:
        import ray
    except ImportError as error:
        raise ValueError(f"{error}: pip install 'jood[ray]'.") from None
    detector = os.path.abspath(_DETECTOR.value)  # workers start in other folders
    scorer = jood.Scorer(detector, _COLUMN.value, _BATCH_SIZE.value, _CPUS.value)
    if _DRY_RUN.value:
        cli.would(
            f"score {_IMAGES.value} with {detector}, {_SHARD_SIZE.value:,} images a "
            f"shard, {_WORKERS.value} workers",
            f"write {_OUTPUT.value}",
        )
        return
    job = cluster_job.plan(_IMAGES.value, _OUTPUT.value, scorer, _SHARD_SIZE.value)
    missing = job.shards.missing()
    print(f"{len(job.rows)} shards, {len(missing)} of them to be scored")

    plugins, folder = flags.FLAGS.plugins, os.getcwd()

    @ray.remote(
        num_cpus=_CPUS.value,
        num_gpus=_GPUS.value,
        max_restarts=-1,
        max_task_retries=-1,
    )
    class Worker:
        """A process of Ray's, which it starts again, with its shard, if it dies."""

        def is_up(self) -> None:
            """Answers as soon as the cluster has a place for this worker."""

        def score(self, number: int) -> dict[str, Any]:
            try:
                extensions.load(plugins, folder)  # workers start in other folders
                return cluster_job.score(job, number)
            except (ValueError, OSError) as error:  # shown without Ray's traces
                return {"error": str(error)}

    cores = None if _ADDRESS.value else _WORKERS.value * _CPUS.value
    worker: Any = Worker  # Ray's types take a decorated class for a function
    ray.init(_ADDRESS.value, num_cpus=cores, include_dashboard=False)
    began, images = time.perf_counter(), 0
    try:
        with progress.bar("score", len(missing), unit="shards") as shown:
            count = min(_WORKERS.value, len(missing))
            workers = [worker.remote() for _ in range(count)]
            for counts in _outcomes(workers, missing):
                if "error" in counts:
                    raise ValueError(counts["error"])
                images += counts["images"]
                shown.update(1)
    finally:
        ray.shutdown()
    seconds = time.perf_counter() - began
    total = cluster_job.finish(job, as_csv=_CSV.value)
    print(", ".join(f"{name} {total[name]}" for name in total if name != "seconds"))
    if images:
        rate = images / seconds
        print(f"{images} images in {seconds:.1f} s with the start, {rate:.1f} a second")
        if _PRICE.value is not None:
            cost = _PRICE.value / 3600 / rate * 1e6
            print(f"at {_PRICE.value} per hour a million images cost {cost:.2f}")
    print(f"written to {job.output}")


def _outcomes(workers: list[Any], numbers: list[int]) -> Iterator[dict[str, Any]]:
    """Yields the shards' counts as they come; whoever is idle takes the next shard.

    A worker for which the cluster has no place yet gets none.
    """
    import ray

    left, busy = iter(numbers), {worker.is_up.remote(): worker for worker in workers}
    done = 0
    while done < len(numbers):
        [answer], _ = ray.wait(list(busy))
        worker, counts = busy.pop(answer), ray.get(answer)
        for number in itertools.islice(left, 1):
            busy[worker.score.remote(number)] = worker
        if counts is not None:
            done += 1
            yield counts


if __name__ == "__main__":
    cli.run(main)
