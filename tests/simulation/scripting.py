"""Runs our Lua over a keyspace, in this process: the real scripts, by the Lua Redis has. No server here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lupa import lua51

from gateway.store.errors import RefusedError

from .keyspace import Keyspace

_HEAD, _TAIL = "return function(redis, KEYS, ARGV) ", "\nend"
_WRAP = """
return function(text)
  local made, problem = loadstring(text)
  if not made then error(problem) end
  return made()
end
"""
# As in Redis: a global that is not there is an error, to read and to write.
_STRICT = """
setmetatable(_G, {
  __index = function(_, name) error('nonexistent global ' .. tostring(name)) end,
  __newindex = function(_, name) error('no global may be made, as ' .. tostring(name)) end,
})
"""
_REDIS = """
return function(call)
  return {
    call = call,
    error_reply = function(text) return {err = text} end,
    status_reply = function(text) return {ok = text} end,
  }
end
"""


class _Engine:
    """One Lua for the process, with every text compiled once; scripts run on one keyspace at a time."""

    def __init__(self) -> None:
        self._lua = lua51.LuaRuntime(encoding="utf-8", unpack_returned_tuples=False)
        self._table = self._lua.table_from
        self._compile = self._lua.execute(_WRAP)
        self._redis = self._lua.execute(_REDIS)(self._call)
        self._lua.execute(_STRICT)
        self._is_table = lua51.lua_type
        self._functions: dict[str, Any] = {}
        self._commands: dict[str, Any] = {}

    def run(self, keyspace: Keyspace, text: str, keys: Sequence[str], args: Sequence[str]) -> Any:
        function = self._functions.get(text)
        if function is None:
            function = self._functions[text] = self._compile(f"{_HEAD}{text}{_TAIL}")
        self._commands = keyspace.commands
        try:
            reply = function(self._redis, self._table(keys), self._table(args))
        except lua51.LuaError as error:
            raise RefusedError(f"ERR {error}") from error
        return self._plain(reply)

    def _call(self, name: str, *words: Any) -> Any:
        command = self._commands.get(name)
        if command is None:
            raise RefusedError(f"ERR unknown command '{name}'")
        reply = command(*[word if type(word) is str else _text(word) for word in words])
        if reply is None:
            return False
        if type(reply) is list:
            return self._lua_list(reply)
        return reply

    def _lua_list(self, words: list[Any]) -> Any:
        return self._table(
            [
                False if word is None else self._lua_list(word) if type(word) is list else word
                for word in words
            ]
        )

    def _plain(self, reply: Any) -> Any:
        if self._is_table(reply) == "table":
            return self._plain_table(reply)
        if isinstance(reply, bool):
            return 1 if reply else None
        return int(reply) if isinstance(reply, float) else reply

    def _plain_table(self, table: Any) -> Any:
        if table["err"] is not None:
            raise RefusedError(str(table["err"]))
        if table["ok"] is not None:
            return table["ok"]
        words = []
        while (word := table[len(words) + 1]) is not None:
            words.append(self._plain(word))
        return words


def _text(word: Any) -> str:
    """Give an argument of a command as Redis takes it: it writes numbers with seventeen digits."""
    return f"{word:.17g}" if isinstance(word, float) else str(word)


_engine: list[_Engine] = []


def engine() -> Any:
    """Give the Lua of this process, for whoever wants to look on."""
    return _only_engine()._lua


def text_of(source: str) -> str:
    """Give the script's text in what was compiled of it."""
    return source.removeprefix(_HEAD).removesuffix(_TAIL)


def _only_engine() -> _Engine:
    if not _engine:
        _engine.append(_Engine())
    return _engine[0]


def run_script(keyspace: Keyspace, text: str, keys: Sequence[str], args: Sequence[str]) -> Any:
    """Run a script's text. Raises RefusedError for the error replies of the script and of its commands."""
    return _only_engine().run(keyspace, text, keys, args)
