"""`docs/config.md` is what the sections say of themselves."""

from pathlib import Path

import pytest

from kdmatch.pipeline.config import reference
from kdmatch.pipeline.config.section import Section

PAGE = Path(__file__).parents[2] / "docs" / "config.md"


def test_the_page_is_the_sections_own():
    made = "python -m kdmatch.pipeline.config.reference > docs/config.md"
    assert PAGE.read_text("utf-8") == reference.reference(), f"make it again: {made}"


def test_a_field_without_a_word_is_refused():
    class Forgetful(Section):
        """Two fields.

        Attributes:
            told: what it is.
        """

        told: int = 1
        untold: int = 2

    with pytest.raises(ValueError, match=r"Forgetful: described \['told'\], has .*'untold'"):
        list(reference.described(Forgetful))
