"""What OpenAI's replies mean: chat completions, completions, responses and embeddings, whole and streamed.

OpenAI counts cached tokens into the prompt and reasoning into the answer, and many others speak as it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.llm.numbers import Counts, Numbers
from gateway.llm.reply import Dialect, Reply
from gateway.llm.texts import texts

_RESPONSE_ENDS = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled"}
)


def _take_common(value: Mapping[str, Any], reply: Reply) -> None:
    reply.name_model(value.get("model"))
    reply.serve("service_tier", value.get("service_tier"))
    reply.report(value.get("usage"))
    if value.get("error") is not None:
        reply.fail()


def _take_completion(value: Mapping[str, Any], reply: Reply) -> None:
    choices = value.get("choices")
    # Text first: a chunk may carry both, and its usage covers its text.
    reply.say(texts(choices if isinstance(choices, list) else []))
    _take_common(value, reply)


def _take_response(value: Mapping[str, Any], reply: Reply) -> None:
    kind = value.get("type")
    if isinstance(kind, str):
        _take_response_event(kind, value, reply)
    else:
        output = value.get("output")
        reply.say(texts(output if isinstance(output, list) else []))
        _take_common(value, reply)


def _take_response_event(kind: str, value: Mapping[str, Any], reply: Reply) -> None:
    if kind == "error":
        reply.fail()
    elif kind.endswith(".delta") and not kind.endswith("audio.delta"):
        reply.say(texts(value.get("delta")))
    response = value.get("response")
    if isinstance(response, Mapping):
        _take_common(response, reply)
    if kind in _RESPONSE_ENDS:
        reply.ended = True


def _completion_counts(numbers: Numbers) -> Counts:
    return _counts(numbers, "prompt_tokens", "completion_tokens")


def _response_counts(numbers: Numbers) -> Counts:
    return _counts(numbers, "input_tokens", "output_tokens")


def _embedding_counts(numbers: Numbers) -> Counts:
    return Counts(prompt=numbers.count("prompt_tokens"), answer=0)


def _counts(numbers: Numbers, prompt_name: str, answer_name: str) -> Counts:
    prompt = numbers.count(prompt_name)
    cached = numbers.part(prompt, f"{prompt_name}_details", "cached_tokens")
    written = numbers.part((prompt or 0) - cached, f"{prompt_name}_details", "cache_write_tokens")
    answer, reasoning = _answer(numbers, prompt, answer_name)
    return Counts(prompt, cached, written, answer=answer, reasoning=reasoning)


def _answer(numbers: Numbers, prompt: int | None, answer_name: str) -> tuple[int | None, int]:
    answer = numbers.count(answer_name)
    thought = numbers.count(f"{answer_name}_details", "reasoning_tokens") or 0
    # Some who speak this dialect leave reasoning out of the answer; their total gives them away.
    if thought and answer is not None and numbers.count("total_tokens") == (prompt or 0) + answer + thought:
        return answer + thought, thought
    return answer, numbers.part(answer, f"{answer_name}_details", "reasoning_tokens")


COMPLETIONS = Dialect(_take_completion, _completion_counts)
RESPONSES = Dialect(_take_response, _response_counts)
EMBEDDINGS = Dialect(_take_common, _embedding_counts, generates=False)
