"""Nests: what is put in the place of the leaves leaves everything around them as it was."""

from collections import Counter, OrderedDict, UserDict, defaultdict, namedtuple

import pytest

from tinygrad_bn.errors import ShapeError
from tinygrad_bn.nests import aligned, leaves, mapped

Pair = namedtuple("Pair", ["first", "second"])


class Named(list):
    __slots__ = ("name",)


class Range(tuple):
    def __new__(cls, low, high):
        return super().__new__(cls, (low, high))


class Entries(dict):
    """Entries as attributes, by the class."""

    __slots__ = ()
    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__


class Attributes(dict):
    """Entries as attributes, by the object."""

    def __init__(self, **entries):
        super().__init__(**entries)
        self.__dict__ = self


def named():
    nest = Named([1, [2, 3]])
    nest.name = "it"
    return nest


NESTS = {
    "plain": lambda: {"a": [1, (2, 3)], "b": {}},
    "named tuple": lambda: Pair(1, [2]),
    "tuple with a constructor of its own": lambda: Range(1, 2),
    "list with a slot": named,
    "defaultdict": lambda: defaultdict(lambda: 7, a=1, b=[2]),
    "OrderedDict": lambda: OrderedDict(b=1, a=2),
    "Counter": lambda: Counter(a=1, b=2),
    "entries by the class": lambda: Entries(a=1, b=[2]),
    "entries by the object": lambda: Attributes(a=1, b=2),
}


@pytest.mark.parametrize("make", NESTS.values(), ids=NESTS)
def test_a_nest_keeps_its_form_and_its_class(make):
    nest = make()
    found = mapped(nest, lambda leaf: leaf)
    assert type(found) is type(nest) and found == nest and found is not nest
    changed = mapped(nest, lambda leaf: leaf * 10)
    assert list(leaves(changed)) == [leaf * 10 for leaf in leaves(nest)]
    assert nest == make()


def test_what_a_class_adds_is_kept():
    assert mapped(defaultdict(lambda: 7), str)["missing"] == 7
    assert mapped(Counter(a=1), lambda leaf: leaf)["missing"] == 0
    assert mapped(named(), str).name == "it"
    assert mapped(Entries(a=1), str).a == "1"
    found = mapped(Attributes(a=1), str)
    assert found.a == "1"
    found.b = 2
    assert found["b"] == 2
    assert list(mapped(OrderedDict(b=1, a=2), str).items()) == [("b", "1"), ("a", "2")]


def test_a_mapping_that_is_no_dict_becomes_one():
    assert mapped(UserDict(a=1), str) == {"a": "1"}


@pytest.mark.parametrize("make", NESTS.values(), ids=NESTS)
def test_a_nest_is_aligned_with_what_was_made_from_it(make):
    nest = make()
    assert aligned("it", mapped(nest, str), nest) == list(map(str, leaves(nest)))


def test_parts_are_aligned_by_their_names_and_lists_with_tuples():
    assert aligned("it", UserDict(b=[1, 2], a=3), {"a": None, "b": (None, None)}) == [3, 1, 2]


@pytest.mark.parametrize("nest", [1, [1], {"a": 1}, {"a": 1, "c": [2, 3]}, {"a": 1, "b": 2}, {"a": 1, "b": [2]}])
def test_another_form_is_refused(nest):
    with pytest.raises(ShapeError, match=r"it expects a (dict with the keys a, b|tuple or list of 2); got"):
        aligned("it", nest, {"a": None, "b": [None, None]})
