"""The replies of these tests are replies to the providers' own SDKs: each field exists and has its type."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from llm_replies import (
    CHAT,
    CHAT_CHUNKS,
    CHAT_TOOLS,
    COMPLETION,
    EMBEDDING,
    MESSAGE,
    MESSAGE_EVENTS,
    RESPONSE,
    RESPONSE_EVENTS,
    Body,
)
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

REPLIES: list[tuple[Any, Body]] = [
    (ChatCompletion, CHAT),
    (ChatCompletion, CHAT_TOOLS),
    (Completion, COMPLETION),
    (CreateEmbeddingResponse, EMBEDDING),
    (Response, RESPONSE),
    (Message, MESSAGE),
    *((ChatCompletionChunk, chunk) for chunk in CHAT_CHUNKS),
    *((ResponseStreamEvent, event) for event in RESPONSE_EVENTS),
    # The SDK drops pings before it looks at types.
    *((RawMessageStreamEvent, event) for event in MESSAGE_EVENTS if event["type"] != "ping"),
]


@pytest.mark.parametrize(("kind", "reply"), REPLIES)
def test_a_reply_is_one_to_the_sdk(kind: Any, reply: Body) -> None:
    parsed = TypeAdapter(kind).validate_python(reply, strict=True)
    assert unknown(parsed) == []


def unknown(value: object) -> list[str]:
    """Give the fields that the SDK's types do not have."""
    if isinstance(value, list):
        return [name for part in value for name in unknown(part)]
    if isinstance(value, BaseModel):
        own = list(value.model_extra or ())
        return own + [name for field in type(value).model_fields for name in unknown(getattr(value, field))]
    return []
