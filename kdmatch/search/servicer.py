"""KerasTuner's service, for one study after another and for who has a right to call."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_chief import OracleServicer

from kdmatch.search.client import STUDY, TUNER
from kdmatch.search.safe_oracle import SafeOracle


class Servicer(OracleServicer):
    """Gives out trials of the study that is searched.

    Refused is a call for another study than the one that is searched, and one
    about a trial that its worker does not run, such as a late end of a trial
    that another worker was given.

    Attributes:
        lock: held during each call that changes anything.
        heard: when each worker called last.
        open: whether trials are given out.
        error: what went wrong in a call, for the chief to end with.
    """

    def __init__(self) -> None:
        super().__init__(None)
        self.lock = threading.Lock()
        self.heard: dict[str, float] = {}
        self.open = False
        self.error: Exception | None = None

    def begin(self, oracle: SafeOracle) -> None:
        with self.lock:
            self.oracle, self.open, self.stop_triggered = oracle, True, False
            self.heard.clear()

    def CreateTrial(self, request: Any, context: Any) -> Any:
        with self._call(context):
            if self.open:
                return super().CreateTrial(request, context)
            none = Trial(self.oracle.get_space(), "none", TrialStatus.STOPPED)
            return protos.get_service().CreateTrialResponse(trial=none.to_proto())

    def GetTrial(self, request: Any, context: Any) -> Any:
        self._check(context, request.trial_id)  # a heart beats while a trial is being proposed
        return super().GetTrial(request, context)

    def UpdateTrial(self, request: Any, context: Any) -> Any:
        with self._call(context, request.trial_id):
            return super().UpdateTrial(request, context)

    def EndTrial(self, request: Any, context: Any) -> Any:
        with self._call(context, request.trial.trial_id):
            return super().EndTrial(request, context)

    @contextlib.contextmanager
    def _call(self, context: Any, trial_id: str | None = None) -> Iterator[None]:
        with self.lock:
            self._check(context, trial_id)
            try:
                yield
            except Exception as error:
                self.error = error
                raise

    def _check(self, context: Any, trial_id: str | None) -> None:
        said = dict(context.invocation_metadata())
        tuner_id, study = (said[key].decode() for key in (TUNER, STUDY))
        if study != self.oracle.label:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "another study is searched")
        if trial_id is not None and not self.oracle.holds(tuner_id, trial_id):
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "another has the trial")
        self.heard[tuner_id] = time.monotonic()
