"""The folder of one student's search, and what it was made with."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from kdmatch.errors import UserError
from kdmatch.files import write_json
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.stage_keys import section_fields
from kdmatch.search.space import space_of

_BUDGET = ("trials", "hours", "space")


@dataclass(frozen=True)
class Study:
    """One student's search.

    Attributes:
        student: str.
        folder: Path, `RUN/search/STUDENT`.
        key: str. Hash of all that makes two trials comparable.
        settings: what `search.json` holds.
    """

    student: str
    folder: Path
    key: str
    settings: dict[str, Any]

    @property
    def label(self) -> str:
        """What each trial carries, so that a worker knows whose it is."""
        return f"{self.student}-{self.key}"

    @classmethod
    def of(cls, config: Config, root: Path, student: str) -> "Study":
        """The study of a student in a run whose `scores` are done.

        Raises:
            UserError: if they are not.
        """
        scores = root / "scores" / "done.json"
        if not scores.exists():
            raise UserError(
                f"{root}: the teachers' scores are missing; call `kdmatch run CONFIG --out {root} "
                "--until scores` first"
            )
        model = config.student(student)
        search = config.search.model_dump(mode="json", exclude={*_BUDGET})
        parameters = {
            parameter.name: {
                "low": parameter.range.low,
                "high": parameter.range.high,
                "sampling": parameter.range.sampling,
                "choices": parameter.labels if parameter.range.choices else None,
                "start": parameter.start,
            }
            for parameter in space_of(config, student)
        }
        settings = {"search": search, "parameters": parameters}
        made_from = {
            **settings,
            "scores": json.loads(scores.read_text("utf-8"))["key"],
            "model": section_fields(model.matcher),
            "distillation": config.distillation_of(student),
            "share": config.transfer_share_of(student),
            "patience": "of a trial's length",  # not of the full one, as at first
        }
        if model.training.average or "training.average" in parameters:
            made_from["average"] = "of a trial's length"  # likewise
        text = json.dumps(
            made_from,
            sort_keys=True,
            default=_plain,
        )
        key = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
        return cls(student, root / "search" / student, key, settings)

    def claim(self) -> None:
        """Make the folder, or go on in it.

        Raises:
            UserError: if it holds a search with other settings.
        """
        file = self.folder / "search.json"
        if file.exists():
            found = json.loads(file.read_text("utf-8"))
            if found["key"] != self.key:
                raise UserError(
                    f"{self.folder}: holds a search with other settings or data, whose trials do "
                    "not compare; delete it, or give the same settings (trials and hours may grow)"
                )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(file, {"student": self.student, "key": self.key, **self.settings})


def _plain(item: Any) -> Any:
    return section_fields(item) if isinstance(item, BaseModel) else str(item)
