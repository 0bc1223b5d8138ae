"""Keys of stages: hashes of what they are made from."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from kdmatch import __version__
from kdmatch.files import file_hash
from kdmatch.pipeline.config.section import AddedLater


def stage_key(value: Any) -> str:
    """Hash of what a stage is made from and of this package's version."""

    def plain(item: Any) -> Any:
        return section_fields(item) if isinstance(item, BaseModel) else str(item)

    text = json.dumps([__version__, value], sort_keys=True, default=plain)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def section_fields(section: BaseModel) -> dict[str, Any]:
    """Fields of a config section, without those that were added later and hold their default."""
    fields = type(section).model_fields
    return {
        name: value
        for name, value in section
        if not any(isinstance(mark, AddedLater) for mark in fields[name].metadata)
        or value != fields[name].get_default(call_default_factory=True)
    }


def files_named(named: str | None, files: Iterable[str] = ("",)) -> dict[str, str]:
    """Hashes of files that a config names by a path, for the key of a stage that reads them.

    Args:
        named: a path; what is none, such as `package:NAME/SUB` or `scratch`, has no hash.
        files: names in a directory that is named; "" stands for a file that is named itself.

    Returns:
        name of `files` to hash, of those that are there, wherever that is.
    """
    if not named:
        return {}
    places = {file: Path(named).expanduser() / file for file in files}
    return {file: file_hash(path) for file, path in places.items() if path.is_file()}
