"""The Redis room: the only one that imports redis and reads lua/. Nothing here knows SQL or HTTP."""
