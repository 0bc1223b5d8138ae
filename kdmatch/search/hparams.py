"""A trial in TensorBoard's HParams: `tensorboard --logdir RUN/search/STUDENT`."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def log_trial(
    folder: Path, values: Mapping[str, Any], objective: str, curve: Sequence[float]
) -> None:
    """Write a trial's values and its objective after each epoch, without TensorFlow.

    Args:
        folder: Path of the trial; the events go to `tensorboard/` in it.
        values: parameter name to str, int, float or bool.
        objective: str. Name of the metric.
        curve: sequence of float, an epoch each.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    shown = {name: value for name, value in values.items() if not name.startswith("tuner/")}
    writer = EventFileWriter(str(folder / "tensorboard"))
    try:
        session = api.hparams_pb(shown, trial_id=folder.name)
        writer.add_event(Event(wall_time=time.time(), summary=session))
        for epoch, value in enumerate(curve, 1):
            scalar = Summary(value=[Summary.Value(tag=objective, simple_value=value)])
            writer.add_event(Event(wall_time=time.time(), step=epoch, summary=scalar))
    finally:
        writer.close()
