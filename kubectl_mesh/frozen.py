"""frozen: `dataclasses.dataclass(frozen=True, slots=True)` for programs that end after half a second.

The one of the standard library compiles seven methods for each class, as source text, which for the classes of a render takes a tenth of
its time. Here only `__init__` is; the others are the same functions for all. That no field is set is seen to by mypy, and not while it runs.
"""

import dataclasses
from collections.abc import Callable
from operator import attrgetter, ge, gt, le, lt
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414  so that mypy takes it for what it stands for
else:

    def dataclass(*, frozen: bool, slots: bool, order: bool = False) -> Callable[[type], type]:
        """As that of `dataclasses`, for values that are frozen and have slots."""
        assert (frozen, slots) == (True, True)

        def made(cls: type) -> type:
            cls = dataclasses.dataclass(slots=True, repr=False, eq=False)(cls)
            fields = dataclasses.fields(cls)
            compared = [f.name for f in fields if f.compare]
            shown = [f.name for f in fields if f.repr]
            key = attrgetter(*compared) if compared else (lambda self: ())

            def equal(self: Any, other: object) -> Any:
                return key(self) == key(other) if other.__class__ is self.__class__ else NotImplemented

            def hashed(self: Any) -> int:
                return hash(key(self))

            def told(self: Any) -> str:
                return f"{self.__class__.__qualname__}({', '.join([f'{name}={getattr(self, name)!r}' for name in shown])})"

            def ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, object], Any]:
                return lambda self, other: compare(key(self), key(other)) if other.__class__ is self.__class__ else NotImplemented

            cls.__eq__, cls.__hash__, cls.__repr__ = equal, hashed, told
            if order:
                cls.__lt__, cls.__le__, cls.__gt__, cls.__ge__ = map(ordered, (lt, le, gt, ge))
            return cls

        return made
