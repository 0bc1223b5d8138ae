"""What a preset's matcher is built with."""

import inspect

import pytest

from kdmatch.errors import UserError
from kdmatch.models import registry
from kdmatch.models.registry import PRESETS, matcher_arguments


def test_arguments_are_read_of_the_constructor_not_of_the_class(monkeypatch):
    """Of a class, Python 3.11.2 gives `(*args, **kwargs)`, the signature of Keras's `__new__`."""
    signature = inspect.signature

    def of_function(thing):
        assert not isinstance(thing, type)
        return signature(thing)

    monkeypatch.setattr(registry.inspect, "signature", of_function)
    for preset, kind in PRESETS.items():
        found = matcher_arguments(preset, match_details=True)
        assert found["match_details"] is True
        assert found.items() >= kind.presets[preset].items()
        assert not {"self", "dtype", "vocabulary_size"} & set(found)


def test_an_argument_that_a_matcher_lacks_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="unknown argument 'filter'; did you mean 'filters'"):
        matcher_arguments("cnn_attention_64", filter=64)
