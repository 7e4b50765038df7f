"""What all tests share: hypothesis draws the same examples on every run, so that none fails by chance.

To search further: pytest --hypothesis-profile=explore
"""

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.laws")  # so that a broken law shows its values

settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=15, print_blob=True)
settings.register_profile(
    "explore", deadline=None, max_examples=500, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("repeatable")
