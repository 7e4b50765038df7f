"""Locks that nobody holds in a process that was just forked, whatever the threads of the old one were doing."""

from __future__ import annotations

import os
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

_owners: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def new_lock(owner: Any, name: str) -> Lock:
    """A lock for the attribute `name` of `owner`, an object or a module; a forked process puts a new one there."""
    _owners[owner] = name
    return Lock()


def _renew() -> None:
    for owner, name in _owners.items():
        setattr(owner, name, Lock())


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew)
