"""Locks are free in a forked process."""

import os
import sys

import pytest

import tinygrad_bn as tg
from tinygrad_bn.locks import new_lock


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_lock_that_is_held_is_free_in_a_child():
    class Owner:
        pass

    owner = Owner()
    owner.own = new_lock(owner, "own")
    accumulating = sys.modules[tg.grad.__module__.replace("transforms", "gradients")]
    with owner.own, accumulating._accumulating:
        child = os.fork()
        if not child:
            os._exit(owner.own.locked() or accumulating._accumulating.locked())
        assert owner.own.locked()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
