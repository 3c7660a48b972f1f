"""What `relay.model.values.dataclass` makes does what a class of the standard library does."""

import copy
import dataclasses
import pickle
from dataclasses import FrozenInstanceError, field
from typing import ClassVar

import pytest

from relay.model import values


def build_classes(make):
    @make(frozen=True, slots=True, kw_only=True)
    class Point:
        kind: ClassVar[str] = "point"
        x: int
        tags: list = field(default_factory=list)
        label: str = "none"
        hidden: int = field(default=1, repr=False, compare=False)
        cache: int = field(default=7, init=False, compare=False)

        def __post_init__(self):
            object.__setattr__(self, "cache", self.x * 2)

    @make(frozen=True, slots=True)
    class Named(Point):
        name: str = "n"

    @make(slots=True)
    class Counter:
        count: int = 0

        def __repr__(self):
            return "own"

    @make(frozen=True, slots=True, kw_only=True)
    class Empty:
        pass

    return Point, Named, Counter, Empty


@pytest.fixture(params=[dataclasses.dataclass, values.dataclass], ids=["standard", "ours"])
def classes(request):
    return build_classes(request.param)


def test_instances_are_made_shown_and_compared_alike(classes):
    point_class, named_class, counter_class, empty_class = classes
    point = point_class(x=2)
    assert (point.x, point.tags, point.label, point.hidden, point.cache) == (2, [], "none", 1, 4)
    assert repr(point).endswith("Point(x=2, tags=[], label='none', cache=4)")
    assert point == point_class(x=2, hidden=5)
    assert point != point_class(x=3)
    assert point != named_class(x=2)
    assert hash(point_class(x=1, tags=())) == hash(point_class(x=1, tags=()))
    assert point_class(x=1).tags is not point_class(x=1).tags
    assert named_class("a", x=1).name == "a"
    assert repr(counter_class(3)) == "own"
    assert counter_class(3) == counter_class(count=3)
    assert empty_class() == empty_class()
    with pytest.raises(TypeError):
        hash(counter_class())
    with pytest.raises(TypeError):
        point_class(2)
    with pytest.raises(TypeError):
        point_class()


def test_frozen_instances_do_not_change(classes):
    point, counter = classes[0](x=2), classes[2]()
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'x'"):
        point.x = 3
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'x'"):
        del point.x
    counter.count += 1
    assert counter.count == 1
    assert not hasattr(point, "__dict__")


def test_the_tools_of_dataclasses_take_them(classes):
    point_class, named_class, _, _ = classes
    point = point_class(x=2, tags=["a"])
    assert dataclasses.is_dataclass(point_class)
    assert [one.name for one in dataclasses.fields(named_class)] == ["x", "tags", "label", "hidden", "cache", "name"]
    assert dataclasses.replace(point, x=5).cache == 10
    assert dataclasses.asdict(point) == {"x": 2, "tags": ["a"], "label": "none", "hidden": 1, "cache": 4}
    assert copy.deepcopy(point) == point
    assert copy.copy(point).tags is point.tags
    match named_class("b", x=1):
        case named_class(name):
            assert name == "b"


@pytest.mark.parametrize("option", ["order", "unsafe_hash"])
def test_an_option_that_is_not_made_is_refused(option):
    with pytest.raises(TypeError, match=option):
        values.dataclass(**{option: True})(type("Refused", (), {}))


@values.dataclass(frozen=True, slots=True)
class Kept:
    number: int


def test_they_can_be_pickled():
    assert pickle.loads(pickle.dumps(Kept(4))) == Kept(4)
