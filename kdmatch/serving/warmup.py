"""The warm-up file: requests that TF Serving runs before a version goes live.

The first request of each shape pays for lazy initialisation. TF Serving plays
the records of `assets.extra/tf_serving_warmup_requests` to a version while it
loads, so that no user waits for it.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from kdmatch.errors import UserError
from kdmatch.serving.wire import PredictSpec

WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
MAX_WARMUP_RECORDS = 1000


def write_warmup(
    version_dir: Path,
    model_name: str,
    requests: Iterable[tuple[str, Sequence[str]]],
    signature: str = "serving_default",
    ids: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the warm-up requests of a version.

    Args:
        version_dir: Path. Directory that holds `saved_model.pb`.
        model_name: str. Name under which the model is served.
        requests: iterable of `(query, documents)`, at most 1,000, of the page
            sizes and lengths that will be asked for.
        signature: str. A signature that takes `query` and `document`.
        ids: a batch of the signature `tokens`, int32 by input's name, for a last record: TF
            Serving prepares each signature at its first request.

    Returns:
        The path of the file, a TFRecord of `PredictionLog`.

    Raises:
        UserError: if there are more than 1,000 requests, which TF Serving
            refuses, or one of them has no documents.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    spec = PredictSpec(model_name, signature=signature)
    logs: list[bytes] = []

    def add(request: Any) -> None:
        log = prediction_log_pb2.PredictionLog()
        log.predict_log.request.CopyFrom(request)
        logs.append(log.SerializeToString())

    for query, documents in islice(requests, MAX_WARMUP_RECORDS + 1):
        if not documents:
            raise UserError(f"warm-up request {len(logs)} ({query!r}) has no documents")
        add(spec.request([query] * len(documents), documents))
    if ids is not None:
        add(PredictSpec(model_name, signature="tokens").request_of(ids))
    if len(logs) > MAX_WARMUP_RECORDS:
        raise UserError(
            f"more than {MAX_WARMUP_RECORDS} warm-up requests; TF Serving loads no version "
            "with more, give fewer"
        )

    path = Path(version_dir) / WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log)
    return path


def read_warmup(version_dir: Path) -> list[Any]:
    """Reads a version's warm-up records.

    Args:
        version_dir: Path. Directory that holds `saved_model.pb`.

    Returns:
        A list of `PredictionLog`; empty where the version has no such file.

    Raises:
        UserError: if the file is damaged.
    """
    path = Path(version_dir) / WARMUP_FILE
    if not path.is_file():
        return []

    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow_serving.apis import prediction_log_pb2

    records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    try:
        return [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    except (tf.errors.DataLossError, DecodeError) as error:
        raise UserError(f"{path}: damaged warm-up file; export the model again") from error


def warmup_requests(version_dir: Path) -> list[tuple[str, Any]]:
    """A version's warm-up requests: the signature of each, and a `PredictRequest`."""
    requests = [record.predict_log.request for record in read_warmup(version_dir)]
    return [(one.model_spec.signature_name or "serving_default", one) for one in requests]
