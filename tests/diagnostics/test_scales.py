"""A logarithmic axis names several numbers, whatever it spans."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_bn.diagnostics.scales import logarithmic

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure


def drawn(values):
    figure = Figure()
    axes = figure.subplots()
    axes.plot(values)
    logarithmic(axes)
    figure.draw_without_rendering()
    low, high = axes.get_ylim()
    return axes, {tick: label.get_text() for tick, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
                  if low <= tick <= high}  # fmt: skip


@given(st.floats(-12, 12), st.floats(0.001, 12))
def test_several_numbers_are_named(start, decades):
    _, named = drawn([10**start, 10 ** (start + decades)])
    assert 2 <= len(named) <= 12
    assert all(named.values()) and len(set(named.values())) == len(named)


@given(st.floats(-3, 3), st.floats(0.01, 1.5))
def test_within_two_decades_each_label_is_the_number_itself(start, decades):
    _, named = drawn([10**start, 10 ** (start + decades)])
    assert len(named) >= 3
    assert all(math.isclose(float(label), tick) for tick, label in named.items())


def test_one_two_and_five_where_there_is_room_for_them_and_powers_where_there_is_more():
    assert list(drawn([0.5, 3.0])[1].values()) == ["0.5", "1", "2"]
    assert list(drawn([1.0, 1.03])[1].values()) == ["1", "1.01", "1.02", "1.03"]
    assert all("10^" in label for label in drawn([1.0, 1e6])[1].values())


def test_the_range_stays_what_the_data_ask_for():
    plain = Figure().subplots()
    plain.plot([2.0, 7.0])
    plain.set_yscale("log")
    assert drawn([2.0, 7.0])[0].get_ylim() == plain.get_ylim()


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 1.0], [math.nan]])
def test_of_next_to_nothing_an_axis_can_be_made(values):
    drawn(values)
