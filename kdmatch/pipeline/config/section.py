"""What all parts of a config have in common."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the config; a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AddedLater:
    """Marks, in a field's annotation, one that stage keys leave out while it holds its default.

    So runs that were made before the field was there stay done.
    """
