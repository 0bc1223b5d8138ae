"""What tokens do in a text, apart from what they mean."""

from enum import IntEnum


class Role(IntEnum):
    """What a token does in a text that names a thing: *3 in. towel bar for baths*."""

    NAMES = 0
    PASSES = 1  # nothing: a unit, an article, a hyphen
    NUMBER = 2
    ENDS = 3  # what follows says no more than how the thing is: a preposition, a comma
