"""Initializers: the laws that weights are drawn from before training. A kernel is (fan_in, fan_out).

kernel = HeNormal()((300, 100))
print(HeNormal().report((300, 100)))
"""

from __future__ import annotations

import re
from typing import Final

from tinygrad_bn import names
from tinygrad_bn.initializers.base import Initializer, fans
from tinygrad_bn.initializers.laws import TRUNCATED_STDDEV, Law
from tinygrad_bn.initializers.plain import (
    Constant,
    Ones,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    Zeros,
)
from tinygrad_bn.initializers.report import Report
from tinygrad_bn.initializers.scaling import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    VarianceScaling,
)

__all__ = [
    "TRUNCATED_STDDEV",
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Initializer",
    "Law",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "Report",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "fans",
    "get",
]

_KINDS: Final[dict[str, type[Initializer]]] = {
    re.sub("(?<!^)(?=[A-Z])", "_", name).lower(): kind
    for name, kind in list(globals().items())
    if isinstance(kind, type) and issubclass(kind, Initializer) and kind is not Initializer
}


@names.checked
def get(initializer: str | Initializer | type[Initializer], where: str = "") -> Initializer:
    """The initializer of a snake_case name such as "he_normal", of a class, or itself.

    Raises:
        SettingError: `where` was given something else; the message lists the names.
    """
    return names.resolve("initializer", initializer, Initializer, _KINDS, where)


def __dir__() -> list[str]:
    return sorted(__all__)


names.answer_for(__name__)
