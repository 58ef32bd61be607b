"""Deterministic simulation: the real classes over stores in this process, under virtual time and a seed."""
