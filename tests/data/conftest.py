"""What `row_files` asserts is told in full, as it is in a test file."""

import pytest

pytest.register_assert_rewrite(f"{__package__}.row_files")
