"""Recorders: who watches hands on what it is shown."""

from tinygrad_bn.recorders import Recorder, Relay


def test_a_relay_hands_everything_on():
    told = []
    shown = {name for name in vars(Recorder) if not name.startswith("_")}
    other = type("Other", (Recorder,), {name: lambda self, *_, name=name: told.append(name) for name in shown})()
    for name in shown:
        count = getattr(Recorder, name).__code__.co_argcount - 1
        getattr(Relay(other), name)(*range(count))
    assert set(told) == shown
