"""The arguments that all optimizers take."""

from __future__ import annotations

from typing import TypedDict


class ClippingSettings(TypedDict, total=False):
    """The arguments about clipping, which all optimizers take."""

    clipvalue: float | None
    clipnorm: float | None
    global_clipnorm: float | None
    nonfinite: str


class Settings(ClippingSettings, total=False):
    """The arguments that all optimizers take."""

    weight_decay: float | None
