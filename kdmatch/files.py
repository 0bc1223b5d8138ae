"""Files that are complete or not there, whenever the process is killed; what they hold."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kdmatch.errors import UserError


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place once all is written.

    It ends as `path` does, for writers that go by the suffix. Where the block fails it is
    taken away, and what stood at `path` stays.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "model.weights.h5"
    >>> with whole(path) as partial:
    ...     _ = partial.write_text("weights")
    ...     print(path.exists(), partial.name)
    False .partial-model.weights.h5
    >>> path.read_text()
    'weights'
    """
    partial = path.with_name(f".partial-{path.name}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, complete or not at all."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote."""
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def write_json(path: Path, value: Any) -> None:
    """Write JSON, complete or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False))


def write_arrays(
    path: Path,
    header: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    compress: bool = False,
) -> None:
    """Write arrays and what JSON can say of them as one `.npz` file, complete or not at all."""
    save = np.savez_compressed if compress else np.savez
    text = json.dumps(header, ensure_ascii=False).encode("utf-8", "surrogatepass")
    with whole(path) as partial, open(partial, "wb") as file:
        save(file, **{"header": np.frombuffer(text, np.uint8), **arrays})  # type: ignore[arg-type]


def read_arrays(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `write_arrays` wrote."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(arrays.pop("header").tobytes().decode("utf-8", "surrogatepass")), arrays


def file_hash(path: Path) -> str:
    """BLAKE2 of a file's bytes.

    Raises:
        UserError: if there is no such file.
    """
    try:
        with path.open("rb") as content:
            return hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
