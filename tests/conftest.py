"""What all tests share: hypothesis draws the same examples on every run, so that none fails by chance.

To search further: pytest --hypothesis-profile=explore
"""

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("tests.laws")  # so that a broken law shows its values

settings.register_profile(
    "repeatable", derandomize=True, deadline=None, max_examples=40, report_multiple_bugs=False, print_blob=True
)
settings.register_profile("explore", settings.get_profile("repeatable"), derandomize=False, max_examples=500)
settings.load_profile("repeatable")


@pytest.fixture
def exact(monkeypatch):
    """Without another word, steps are replayed: the native executor promises the same digits, not the same bits."""
    monkeypatch.setenv("TINYGRAD_BN_EXECUTOR", "numpy")
