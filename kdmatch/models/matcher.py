"""What all matchers share: one score out, a logit within, presets by name."""

from typing import Any, ClassVar, Self

import keras

from kdmatch.models.tables import TokenTraits, WordCharacters, WordSpelling
from kdmatch.searchable import Searchable


class Matcher(keras.Model):
    """A Functional model from the ids of a pair to its score `(batch,)` in (-1, 1).

    Subclasses list their presets in `presets` and their constructor arguments
    in `get_config`; the name of a matcher in a config is its `kind`. Arguments
    that a search may move stand in `searched`, each with its range. One with
    `match_details`, `match_coverage` or `match_characters` holds tables of its vocabulary,
    `traits`, `spelling` and `characters`, to be set before training:
    `kdmatch.text.traits.set_vocabulary`.
    """

    kind: str
    traits: TokenTraits | None = None
    spelling: WordSpelling | None = None
    characters: WordCharacters | None = None
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    searched: ClassVar[dict[str, Searchable]] = {"dropout": Searchable(0.0, 0.3)}

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None) -> None:
        # Keras ignores keyword arguments that it does not know; here they are an error.
        super().__init__(inputs=inputs, outputs=outputs, name=name)

    @classmethod
    def from_preset(cls, name: str, **overrides: Any) -> Self:
        """A matcher with a preset's arguments, some overridden.

        Raises:
            ValueError: if the preset is unknown; the message lists those known.
        """
        if name not in cls.presets:
            raise ValueError(
                f"{cls.__name__} has no preset {name!r}; choose one of {', '.join(cls.presets)}"
            )
        return cls(**{**cls.presets[name], **overrides})

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(self.input.keys())


def dtype_argument(dtype: Any) -> dict[str, Any]:
    """A matcher's `dtype` as its config has it: not at all where none was given."""
    return {} if dtype is None else {"dtype": keras.dtype_policies.get(dtype).name}


def with_logits(student: keras.Model) -> keras.Model:
    """A view of `student` that returns `{"logit", "score"}`, each `(batch,)`.

    Args:
        student: Functional keras.Model with a layer named `logit`; its score and its logit may be
            `(batch, 1)`.

    Raises:
        ValueError: if no layer has that name, or the student has another output.
    """
    try:
        logit = student.get_layer("logit").output
    except ValueError as error:
        raise ValueError(
            f"{student.name} has no layer named 'logit'; name the last layer before the tanh so"
        ) from error
    score = student.output
    if len(getattr(score, "shape", ())) != 1:
        if tuple(getattr(score, "shape", ())) != (None, 1):
            raise ValueError(f"{student.name} gives {score}; it must give one score, (batch,)")
        score = keras.ops.squeeze(score, axis=-1)
    flat = logit if len(logit.shape) == 1 else keras.ops.squeeze(logit, axis=-1)
    return for_any_shape(keras.Model(student.input, {"logit": flat, "score": score}))


def for_any_shape(model: keras.Model) -> keras.Model:
    """The model, its `predict` traced once: Keras's own is traced anew for the first few shapes."""
    if keras.backend.backend() == "tensorflow":
        # XLA would compile anew for every width of a batch.
        model.jit_compile = False
        model.predict_function = _predict_any_shape(model)
    return model


def _predict_any_shape(model: keras.Model) -> Any:
    import tensorflow as tf

    inputs = keras.tree.map_structure(lambda x: tf.TensorSpec(x.shape, x.dtype), model.input)
    traced = tf.function(lambda x: model.predict_step((x,)), input_signature=[inputs])

    def predict(batches: list[Any]) -> dict[str, Any]:
        (batch,) = batches
        return traced(batch[0] if isinstance(batch, tuple) else batch)

    return predict
