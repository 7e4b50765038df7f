"""Every law, for every function of the registry, in every case: a new function gets them all with no line here."""

import pytest

import tests.laws.derivatives
import tests.laws.records
import tests.laws.replays
import tests.laws.values  # noqa: F401 the lawbook is filled
from tests.laws.lawbook import LAWS
from tests.laws.subjects import SUBJECTS, name


@pytest.mark.filterwarnings("ignore:a step runs as a NumPy replay")  # where a function has no C text
@pytest.mark.parametrize(
    ("law", "function", "case"),
    [
        pytest.param(law, function, case, id=f"{law}-{name(function, case)}")
        for law in LAWS
        for function, case in SUBJECTS
        if law.covers(function, case)
    ],
)
def test_law(law, function, case):
    law(function, case)
