"""What a run says, whatever it speaks of."""

import pytest

from kdmatch.pipeline.console import Console


def test_what_looks_like_markup_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Queries and TensorFlow's errors are full of brackets."""
    console = Console()
    console.stage("data", "such as 'how to close [/b] tag', [red] and [[{{node a/b}}]]")
    with console.progress("[x]", 2) as advance:
        advance(1, "[/]")
    said = capsys.readouterr().out
    for part in ("data  such as", "[/b] tag', [red] and [[{{node a/b}}]]", "[x]  step 1 of 2, [/]"):
        assert part in said.replace("\n", " ")
