"""Replays a trace of LLM requests against a running gateway and says what came of it. No server runs here."""

from gateway.replay.run import run_replay

__all__ = ["run_replay"]
