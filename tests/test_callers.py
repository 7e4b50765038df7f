"""Messages show the user's line, however deep in the package they come from."""

import inspect

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.callers import frame_outside, is_ours, users_line, warn


def line():
    return inspect.currentframe().f_back.f_lineno


def test_the_users_line_is_the_innermost_outside_the_package():
    assert users_line() == f"{__file__}:{line()}"
    assert frame_outside() is inspect.currentframe()
    assert not is_ours(frame_outside())


def test_a_module_is_no_other_whose_name_begins_so():
    names = {"__name__": "tinygrad_bn.models.any", "frame_outside": frame_outside}
    exec("def called(): return frame_outside('mode', 'callers')", names)
    assert is_ours(names["called"]())


def test_a_warning_shows_the_users_line():
    with pytest.warns(UserWarning, match="look here") as seen:
        warn("look here")
    assert (seen[0].filename, seen[0].lineno) == (__file__, line() - 1)


def test_a_warning_from_deep_within_shows_the_users_line():
    numbers = np.ones((10, 3))
    step = tg.capture(lambda x: x * numbers)  # what it says is about this line
    with pytest.warns(UserWarning, match="was not given to the captured step") as seen:
        step(tg.tensor([1.0, 2.0, 3.0]))
    assert (seen[0].filename, seen[0].lineno) == (__file__, line() - 3)
