"""Quota by the callbacks of frameworks that call models: LangChain and LiteLLM, each in its own module.

Neither framework is imported here; install the extra ``langchain`` or ``litellm``, or what you have already.
"""

from __future__ import annotations

from gateway.callbacks.model_calls import QuotaRefusedError

__all__ = ["QuotaRefusedError"]
