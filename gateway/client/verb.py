"""One description, two methods: how a verb that is written once belongs to both clients. No verb lives here.

A verb is a function that builds a call. Its descriptor makes it a blocking method of one client and a
coroutine method of the other; type checkers see its parameters and the answer inside ``Call[...]``.
"""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from gateway.client.calls import Call, Pages

P = ParamSpec("P")
T = TypeVar("T")

Function = Callable[..., Any]


class Described:
    """What stands for a method until a client makes it one of its own kind."""


class Sender(ABC):
    """A client, as its verbs see it: it makes methods of its own kind out of builders."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give the client plain methods: whoever looks into a class, as mocks do, takes no others."""
        super().__init_subclass__(**kwargs)
        for name in dir(cls):
            if isinstance(inspect.getattr_static(cls, name), Described):
                setattr(cls, name, getattr(cls, name))

    @staticmethod
    @abstractmethod
    def sending(build: Function) -> Function:
        """Give the method that builds a call and sends it."""

    @staticmethod
    @abstractmethod
    def walking(build: Function) -> Function:
        """Give the method that builds pages and iterates over their items."""

    @staticmethod
    @abstractmethod
    def gathering(build: Function) -> Function:
        """Give the method that builds pages and gives all their items as one list."""


class Blocking(Sender):
    """A client whose methods return when the answer is there."""


class Awaiting(Sender):
    """A client whose methods are coroutines."""


class Verb(Described, Generic[P, T]):
    """A method of both clients, described by the function that builds its call."""

    def __init__(self, build: Callable[Concatenate[Any, P], Call[T]]) -> None:
        self._build = build
        self._methods: dict[type[Any], Function] = {}

    @overload
    def __get__(self, client: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: type[Any]) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type[Any]) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: Sender | None, owner: type[Any]) -> Any:
        method = self._methods.get(owner)
        if method is None:
            made = _dressed(owner.sending(self._build), self._build, "{}")
            method = self._methods.setdefault(owner, made)
        return method if client is None else MethodType(method, client)


class Paged(Described, Generic[P, T]):
    """A method of both clients that iterates over a long list and asks for its pages as it goes."""

    def __init__(self, build: Callable[Concatenate[Any, P], Pages[T]]) -> None:
        self._build = build
        self._methods: dict[type[Any], Function] = {}

    @overload
    def __get__(self, client: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: type[Any]) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type[Any]) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, client: Sender | None, owner: type[Any]) -> Any:
        method = self._methods.get(owner)
        if method is None:
            made = _dressed(owner.walking(self._build), self._build, "Iterator[{}]")
            method = self._methods.setdefault(owner, made)
        return method if client is None else MethodType(method, client)


class Gathered(Described, Generic[P, T]):
    """A method of both clients that asks for page after page and gives all there is as one list."""

    def __init__(self, build: Callable[Concatenate[Any, P], Pages[T]]) -> None:
        self._build = build
        self._methods: dict[type[Any], Function] = {}

    @overload
    def __get__(self, client: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: type[Any]) -> Callable[P, list[T]]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type[Any]) -> Callable[P, Coroutine[Any, Any, list[T]]]: ...
    def __get__(self, client: Sender | None, owner: type[Any]) -> Any:
        method = self._methods.get(owner)
        if method is None:
            made = _dressed(owner.gathering(self._build), self._build, "list[{}]")
            method = self._methods.setdefault(owner, made)
        return method if client is None else MethodType(method, client)


def verb(build: Callable[Concatenate[Any, P], Call[T]]) -> Verb[P, T]:
    """Make a verb of the function that builds its call."""
    return Verb(build)


def paged(build: Callable[Concatenate[Any, P], Pages[T]]) -> Paged[P, T]:
    """Make an iterating verb of the function that builds its pages."""
    return Paged(build)


def gathered(build: Callable[Concatenate[Any, P], Pages[T]]) -> Gathered[P, T]:
    """Make a verb that gives all pages at once of the function that builds them."""
    return Gathered(build)


def _dressed(method: Function, build: Function, returning: str) -> Function:
    # The method shows the builder's name, words and parameters, and what is inside its Call[...].
    functools.update_wrapper(method, build)
    shown = inspect.signature(build)
    answer = returning.format(str(shown.return_annotation).partition("[")[2].removesuffix("]"))
    method.__signature__ = shown.replace(return_annotation=answer)  # type: ignore[attr-defined]
    return method
