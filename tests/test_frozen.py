"""Frozen values: what the decorator of the standard library makes of a class is what ours makes of it, but for the time that it takes."""

import dataclasses
import itertools
import pickle
from dataclasses import field, replace
from typing import Any

import pytest

from kubectl_mesh import frozen

FIELDS: dict[str, dict[str, Any]] = {
    "Several": {"__annotations__": {"a": int, "b": str, "c": tuple, "d": dict}, "c": (), "d": field(default_factory=dict, compare=False)},
    "Hidden": {"__annotations__": {"name": str, "key": bytes}, "key": field(repr=False)},
    "One": {"__annotations__": {"only": int}},
    "None": {},
}


def both(name: str, *, order: bool = False) -> tuple[Any, Any]:
    """The same class by both decorators."""
    made = [type(name, (), {"__doc__": "A value.", "__qualname__": name, "__module__": __name__, **FIELDS[name]}) for _ in range(2)]
    theirs, ours = dataclasses.dataclass(frozen=True, slots=True, order=order)(made[0]), frozen.dataclass(frozen=True, slots=True, order=order)(made[1])
    return theirs, ours


ARGUMENTS: dict[str, list[tuple[Any, ...]]] = {
    "Several": [(1, "x"), (1, "y"), (2, "x"), (1, "x", (1,)), (1, "x", (), {"not": "compared"})],
    "Hidden": [("a", b"1"), ("a", b"2"), ("b", b"1")],
    "One": [(1,), (2,)],
    "None": [()],
}


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("order", [False, True])
def test_it_is_that_of_the_standard_library(name: str, order: bool) -> None:
    theirs, ours = both(name, order=order)
    assert ours.__slots__ == theirs.__slots__
    assert not hasattr(ours(*ARGUMENTS[name][0]), "__dict__")
    assert [f.name for f in dataclasses.fields(ours)] == [f.name for f in dataclasses.fields(theirs)]
    for a, b in itertools.product(ARGUMENTS[name], repeat=2):
        mine, other, his, hers = ours(*a), ours(*b), theirs(*a), theirs(*b)
        assert repr(mine) == repr(his)
        assert (mine == other) == (his == hers)
        assert (mine != other) == (his != hers)
        assert (hash(mine) == hash(other)) == (hash(his) == hash(hers))
        assert mine != his
        assert mine != a
        if order:
            assert (mine < other, mine <= other, mine > other, mine >= other) == (his < hers, his <= hers, his > hers, his >= hers)
        else:
            with pytest.raises(TypeError):
                mine < other  # noqa: B015


def test_a_secret_is_in_no_repr() -> None:
    assert repr(both("Hidden")[1]("a", b"secret")) == "Hidden(name='a')"


def test_what_is_replaced_is_another() -> None:
    ours = both("Several")[1]
    before = ours(1, "x", d={})
    after = replace(before, b="y")
    assert (before.b, after.b, after.a) == ("x", "y", 1)
    assert ours(1, "x").d is not ours(1, "x").d


@frozen.dataclass(frozen=True, slots=True)
class Sent:
    """One that goes through a pipe."""

    name: str
    key: bytes = field(repr=False)
    place: "Sent | None" = None


def test_it_goes_through_a_pipe() -> None:
    value = Sent("a", b"1", Sent("b", b"2"))
    assert pickle.loads(pickle.dumps(value, pickle.HIGHEST_PROTOCOL)) == value
    assert {value: 1}[Sent("a", b"1", Sent("b", b"2"))] == 1


def test_another_kind_of_class_is_refused() -> None:
    with pytest.raises(AssertionError):
        frozen.dataclass(frozen=False, slots=True)
