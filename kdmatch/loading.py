"""Models that Keras saved, loaded where none of kdmatch's classes is known yet."""

from pathlib import Path

import keras

from kdmatch.errors import UserError


def load_model(path: str | Path) -> keras.Model:
    """The matcher or the `Distiller` that its `save` wrote to a `.keras` file.

    `keras.saving.load_model` knows only classes that were imported before; this imports them.

    Args:
        path: str or Path.

    Raises:
        UserError: if there is no such file, or it holds no model that loads.
    """
    # Each registers its classes with Keras.
    import kdmatch.distillation.distiller
    import kdmatch.models.registry  # noqa: F401

    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; give what a model's `save` wrote")
    try:
        return keras.saving.load_model(path)
    except (TypeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: does not load as a model ({reason}); save it again") from error
