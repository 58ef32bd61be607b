"""Mutates the Lua, one small change at a time, and asks the tests of the store to notice each."""
