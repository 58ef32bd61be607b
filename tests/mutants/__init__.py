"""Mutates the Lua, and the Python that reckons, one small change at a time; tests have to notice each."""
