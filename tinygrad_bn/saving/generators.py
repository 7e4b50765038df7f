"""Where random generators stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_bn.errors import SettingError
from tinygrad_bn.module import Module
from tinygrad_bn.ops.random import random_state, set_random_state

_KINDS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")


def as_it_stands(state: Mapping[str, Any]) -> np.random.Generator:
    """A new generator whose bit generator has this state.

    Raises:
        SettingError: it is not the state of one of NumPy's.
    """
    kind = state.get("bit_generator")
    if kind not in _KINDS:
        raise SettingError(f"a saved generator expects to be one of {', '.join(_KINDS)}; got {kind!r}")
    rng = np.random.Generator(getattr(np.random, kind)(0))
    rng.bit_generator.state = state
    return rng


class Generators:
    """The shared streams, and the generators that the modules of a model have for themselves."""

    def __init__(self, model: Module) -> None:
        self._own = {
            f"{path}.{name}".lstrip("."): thing
            for path, module in model.named_modules()
            for name, thing in vars(module).items()
            if isinstance(thing, np.random.Generator)
        }

    def states(self) -> dict[str, Any]:
        """Where they stand."""
        return {"shared": random_state(), "own": {path: rng.bit_generator.state for path, rng in self._own.items()}}

    def expect(self, states: Mapping[str, Any]) -> None:
        """Raise unless the model has the generators that these states are of.

        Raises:
            SettingError: the model has other generators.
        """
        if states["own"].keys() != self._own.keys():
            raise SettingError(
                f"the saved training expects a model with generators at {sorted(states['own'])}; "
                f"this one has them at {sorted(self._own)}"
            )

    def put_back(self, states: Mapping[str, Any]) -> None:
        """Let them go on from there. Raises as `expect`."""
        self.expect(states)
        set_random_state(states["shared"])
        for path, rng in self._own.items():
            rng.bit_generator.state = states["own"][path]
