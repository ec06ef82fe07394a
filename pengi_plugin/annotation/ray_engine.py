"""Numbers of parts in, parts written out, by Ray Data: one machine or a cluster.

``ray.data`` reads the list of recordings, actors hold the model, and ``write_parquet``
stores their answers under Ray's checkpoint by id, so that a driver that died goes on.
When all recordings are answered, the answers become the parts that the local engine
writes. See ``ray_answers`` for the files.
"""

import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow

from pengi_plugin.annotation.output import Output
from pengi_plugin.annotation.ray_answers import (
    ANSWERS,
    CHECKPOINT,
    Answers,
    answered,
    write_recordings,
)
from pengi_plugin.annotation.run import Count, complete_by

if TYPE_CHECKING:  # Ray's tasks that hold no model need not import PyTorch
    from pengi_plugin.annotation.answerer import Answerer

#: CPUs that Ray Data needs beside those of the actors, to read, filter and write.
N_OTHER_CPU = 2

#: Shared memory of a Ray of our own, in bytes: lists of paths and answers are small.
STORE_SIZE = 256 << 20

#: Memory that an actor that filters by the checkpoint asks for, in bytes; Ray raises
#: it where ids need more. Its own value, 1 GiB, would wait for ever on a small machine.
FILTER_SIZE = 64 << 20


def complete_on_ray(
    output: Output,
    settings: Mapping,
    answerer: "Answerer",
    n_worker: int = 1,
    retry_errors: bool = False,
) -> Count:
    """Write the parts that are not there yet, with actors on Ray.

    Arguments
    ---------
    output : Output
        The folder, which all machines share.
    settings, retry_errors
        See ``run.complete``, also for what is returned and raised.
    answerer : Answerer
        Loaded in each actor.
    n_worker : int
        Actors, of one GPU each where the cluster has GPUs and ``device`` is not cpu,
        else of one CPU.

    Raises
    ------
    ValueError
        If errors are to be retried while answers of an interrupted call wait, or the
        cluster is too small.
    RuntimeError
        If Ray is not installed, or an actor failed.
    """
    _import_ray()
    if n_worker < 1:
        raise ValueError(f"workers must be at least 1; got {n_worker}.")
    if retry_errors and output.work_folder.exists():
        raise ValueError(
            f"{output.folder} holds answers of an interrupted run on Ray: let it end "
            "first without retry_errors (--retry-errors)."
        )

    def write(pending: Sequence[int]) -> None:
        if not pending:
            return
        if Answers(output).n_missing(pending):
            _answer_all(output, answerer, pending, n_worker)
        answers = Answers(output)
        if n_missing := answers.n_missing(pending):
            raise RuntimeError(
                f"Ray ended without the answers about {n_missing} recordings. Remove "
                f"{output.work_folder} and give the same command again."
            )
        answers.write_parts(pending)

    return complete_by(write, output, settings, retry_errors)


def _answer_all(output, answerer, parts, n_worker) -> None:
    """Let Ray answer about the recordings of parts that its checkpoint lacks."""
    ray = _import_ray()
    folder = output.work_folder.resolve()
    recordings = write_recordings(output, parts)
    try:
        with _ray_running(n_worker), _checkpoint(folder / CHECKPOINT):
            needs, answerer = _resources(answerer, n_worker)
            (
                ray.data.read_parquet(str(recordings.resolve()))
                .repartition(target_num_rows_per_block=output.part_size, strict=True)
                .map_batches(
                    Actor,
                    fn_constructor_args=(answerer, os.getcwd()),
                    batch_size=None,  # a block, which is a part
                    batch_format="pyarrow",
                    compute=ray.data.ActorPoolStrategy(size=n_worker),
                    **needs,
                )
                .write_parquet(str(folder / ANSWERS))
            )
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise RuntimeError(
            f"Ray stopped: {reason} (The same command goes on.)"
        ) from error
    finally:
        if not any((folder / CHECKPOINT).glob("*.parquet")):
            shutil.rmtree(folder)  # nothing was answered: other settings may be asked


class Actor:
    """Hold a model; answer about blocks of recordings.

    Arguments
    ---------
    answerer : Answerer
        What to load.
    folder : str
        Where the command was given; paths may be relative to it.

    Raises
    ------
    FileNotFoundError
        If this machine has no such folder.
    """

    def __init__(self, answerer: "Answerer", folder: str):
        if not os.path.isdir(folder):
            raise FileNotFoundError(
                f"The machine {socket.gethostname()} has no folder {folder}; give the "
                "command in a folder that all machines share."
            )
        os.chdir(folder)
        self.answer = answerer.load()

    def __call__(self, recordings: pyarrow.Table) -> pyarrow.Table:
        """Turn ids and paths into ids and rows."""
        paths = [os.fsdecode(path) for path in recordings["path"].to_pylist()]
        return answered(recordings["id"], paths, self.answer(paths))


def _resources(answerer: "Answerer", n_worker: int) -> tuple[dict, "Answerer"]:
    """Return what an actor takes of the cluster, and the answerer that fits it."""
    available = _import_ray().cluster_resources()
    device = answerer.run_opts.get("device", "cuda" if "GPU" in available else "cpu")
    options = dict(answerer.run_opts) | {"device": device.split(":")[0]}
    if device.startswith("cuda"):  # Ray shows each actor its own GPU alone
        return {"num_gpus": 1}, replace(answerer, run_opts=options, n_thread=None)
    n_cpu = int(available.get("CPU", 0))
    if n_cpu < n_worker + N_OTHER_CPU:
        raise ValueError(
            f"{n_worker} workers need {n_worker + N_OTHER_CPU} CPUs; the Ray cluster "
            f"has {n_cpu}: give fewer workers, or a larger cluster."
        )
    return {"num_cpus": 1}, replace(answerer, run_opts=options, n_thread=1)


@contextmanager
def _ray_running(n_worker: int) -> Iterator[None]:
    """Use the cluster that RAY_ADDRESS names, or a Ray of our own on this machine."""
    ray = _import_ray()
    options = {"log_to_driver": False, "logging_level": "warning"}
    address = os.environ.get("RAY_ADDRESS", "local")
    if address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options |= {"num_cpus": n_worker + N_OTHER_CPU, "include_dashboard": False}
        options |= {"object_store_memory": STORE_SIZE}
    try:
        ray.init(address, **options)
    except Exception as error:  # Ray raises just this where it starts too slowly
        raise RuntimeError(f"Ray did not start: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _checkpoint(folder: Path) -> Iterator[None]:
    """Let what Ray Data writes go on by id."""
    from ray.data.checkpoint import CheckpointConfig

    context = _import_ray().data.DataContext.get_current()
    config = CheckpointConfig(
        id_column="id", checkpoint_path=str(folder), delete_checkpoint_on_success=False
    )
    config.checkpoint_actor_memory_bytes = FILTER_SIZE
    before, context.checkpoint_config = context.checkpoint_config, config
    try:
        yield
    finally:
        context.checkpoint_config = before


def _import_ray():
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ImportError as error:
        raise RuntimeError(
            "--engine ray needs the extra ray: pip install 'pengi-plugin[ray]'."
        ) from error
    return ray
