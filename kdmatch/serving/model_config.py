"""`models.config`: which versions of which models are served, and their labels.

The file is a `ModelServerConfig` in protobuf's text form. Reading and writing
it is here; what it means to the local server is `Policy`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from kdmatch.errors import UserError
from kdmatch.files import write_text
from kdmatch.serving.tensors import RequestError
from kdmatch.serving.versions import list_versions


@dataclass(frozen=True)
class Policy:
    """Which versions of a model are wanted.

    Attributes:
        path: the model's directory.
        specific: version numbers; if None, the `latest` highest.
        latest: int. How many of the highest; 0 for all.
        labels: version numbers by label.
    """

    path: Path
    specific: tuple[int, ...] | None = None
    latest: int = 1
    labels: Mapping[str, int] = field(default_factory=dict)

    def wanted(self) -> list[int]:
        """The versions to load: those named, or the highest complete ones there are."""
        if self.specific is not None:
            return list(self.specific)
        found = list_versions(self.path)
        return found[-self.latest :] if self.latest else found


def policies(model_list: Any, base: Path) -> dict[str, Policy]:
    """What a `ModelConfigList` wants of each model.

    A `base_path` that does not exist here, such as a container's, is read as
    the folder of that name in `base`.

    Raises:
        RequestError: INVALID_ARGUMENT for a model without a name, one that is
            listed twice, or one without a folder.
    """
    found: dict[str, Policy] = {}
    for model in model_list.config:
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        if not model.name:
            raise RequestError(invalid, "ModelConfig has no name")
        if model.name in found:
            raise RequestError(invalid, f"model {model.name} is listed twice")
        here = Path(model.base_path)
        folder = here if here.is_absolute() and here.is_dir() else Path(base) / here.name
        if not here.name or not folder.is_dir():
            raise RequestError(
                invalid, f"model {model.name}: base_path {model.base_path!r} is no folder"
            )
        policy = model.model_version_policy
        kind = policy.WhichOneof("policy_choice")
        found[model.name] = Policy(
            folder,
            tuple(policy.specific.versions) if kind == "specific" else None,
            0 if kind == "all" else max(1, policy.latest.num_versions),
            dict(model.version_labels),
        )
    return found


def read_config(path: Path) -> Any:
    """The `ModelServerConfig` in a file.

    Raises:
        UserError: if there is none, or it lists no models.
    """
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    try:
        text = path.read_text("utf-8")
        config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except text_format.ParseError as error:
        raise UserError(f"{path}: not a ModelServerConfig: {error}") from error
    if not config.model_config_list.config:
        raise UserError(f"{path}: lists no model under model_config_list")
    return config


def write_config(path: Path, config: Any) -> None:
    """Write the file, complete or not at all; the comment at its head stays.

    A server that reads the file again and again sees the old one or the new.
    """
    from google.protobuf import text_format

    head: list[str] = []
    if path.is_file():
        for line in path.read_text("utf-8").splitlines():
            if not line.startswith("#"):
                break
            head.append(line + "\n")
    write_text(path, "".join(head) + text_format.MessageToString(config))


def find_model(config: Any, name: str, path: Path) -> Any:
    """The `ModelConfig` of a model.

    Raises:
        UserError: if the file does not list it.
    """
    for model in config.model_config_list.config:
        if model.name == name:
            return model
    names = ", ".join(model.name for model in config.model_config_list.config)
    raise UserError(f"{path}: no model {name!r}; it lists {names}")
