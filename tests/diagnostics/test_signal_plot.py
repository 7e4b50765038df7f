import sys
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_bn.diagnostics import GradientFlow, LayerFlow
from tinygrad_bn.diagnostics.signal_plot import _apart, plot_signals


def flow(*values):
    return GradientFlow([LayerFlow("kernel", value, value, value) for value in (*values, 1.0)], 1.0)


@pytest.mark.parametrize(
    "values",
    [(1.0, 1e-3, 1e-6), (1.0,), (), (0.0, 0.0), (float("nan"), 1.0), (float("inf"), 1e-300), (1.0,) * 150],
    ids=["ordinary", "one layer", "no hidden layer", "zeros", "nan", "infinite", "deep"],
)
def test_any_flow_can_be_drawn(values, tmp_path):
    plot_signals({"this": flow(*values), "that": flow(*values)}, tmp_path / "signal.svg", "title")
    assert ElementTree.parse(tmp_path / "signal.svg").getroot().tag.endswith("svg")


def test_the_same_flows_give_the_same_bytes(tmp_path):
    for name in ("one.svg", "two.svg"):
        plot_signals({"this": flow(1.0, 0.1)}, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_the_suffix_says_the_form(tmp_path):
    flow(1.0, 0.1).plot(tmp_path / "signal.png")
    assert (tmp_path / "signal.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tinygrad_bn\[plot\]'"):
        flow(1.0).plot(tmp_path / "signal.svg")


@given(st.lists(st.floats(-0.2, 1.2), max_size=12).map(sorted))
def test_names_keep_their_distance_and_their_order(heights):
    places = _apart(heights, 0.06)
    assert len(places) == len(heights)
    assert all(upper - lower > 0.06 - 1e-9 for lower, upper in pairwise(places))
    assert all(place < 1 + 1e-9 for place in places)


def test_names_with_room_stay_where_they_are():
    assert _apart([0.1, 0.5, 0.9], 0.06) == pytest.approx([0.1, 0.5, 0.9])
