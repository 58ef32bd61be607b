"""What a request to a model asks for, as far as it says what the call can cost. Nothing is sent here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from gateway.llm.jsons import NotJsonError, read_json
from gateway.llm.numbers import MOST_TOKENS, Flags, whole_number
from gateway.llm.tallies import ByteTally, Tally
from gateway.llm.texts import texts

MODEL_MAX_CHARACTERS = 256

_CAPS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_ANSWERS = ("n", "best_of")


class Ask(NamedTuple):
    """A request, seen from its cost.

    Attributes:
        model: the model asked for; None when the request names none.
        prompt_tokens: our count of its text.
        output_cap: the most tokens that all its answers together may take; None when it sets no bound.
        answers: how many answers it asks for.
        background: whether the work goes on when nobody waits for the reply.
    """

    model: str | None = None
    prompt_tokens: int = 0
    output_cap: int | None = None
    answers: int = 1
    background: bool = False


def read_ask(body: bytes, tally: Tally | None = None, *, path: str = "") -> Ask | None:
    """Read the JSON body of a request in any dialect; None when it is no JSON object.

    Args:
        body: the bytes of it.
        tally: counts the text, by default four bytes to a token. Pictures, sounds and files count nothing.
        path: where it is sent. Requests for embeddings are told by it: they have no answer to pay for.
    """
    try:
        request = read_json(body)
    except NotJsonError:
        return None
    return ask_of(request, tally, path=path) if isinstance(request, dict) else None


def ask_of(request: dict[str, Any], tally: Tally | None = None, *, path: str = "") -> Ask:
    """Read a request that was decoded already; see ``read_ask``."""
    counter = ByteTally() if tally is None else tally
    for text in texts(request):
        counter.add(text)
    prompt_tokens = min(counter.tokens() + _tokens_given(request), MOST_TOKENS)
    embeds = path.partition("?")[0].rstrip("/").endswith("/embeddings")
    answers = _answers(request)
    return Ask(
        model_named(request.get("model")),
        prompt_tokens,
        0 if embeds else _output_cap(request, answers),
        answers,
        request.get("background") is True,
    )


def model_named(value: object) -> str | None:
    """Give the name of a model, cut where names end; None for what is none, or not fit to print."""
    if isinstance(value, str) and value and value.isprintable():
        return value[:MODEL_MAX_CHARACTERS]
    return None


def _tokens_given(request: Mapping[str, Any]) -> int:
    """Count what completions and embeddings take as tokens already."""
    return sum(
        len(tokens) for name in ("prompt", "input") for tokens in _lists_of_integers(request.get(name))
    )


def _lists_of_integers(value: Any) -> Iterator[list[int]]:
    if not isinstance(value, list):
        return
    if value and type(value[0]) is int:
        yield value
    yield from (part for part in value if isinstance(part, list) and part and type(part[0]) is int)


def _output_cap(request: Mapping[str, Any], answers: int) -> int | None:
    caps = [cap for name in _CAPS if (cap := _asked(request, name)) is not None]
    return min(max(caps) * answers, MOST_TOKENS) if caps else None


def _answers(request: Mapping[str, Any]) -> int:
    each = max(1, *(_asked(request, name) or 1 for name in _ANSWERS))
    return min(each * _prompts(request), MOST_TOKENS)


def _asked(request: Mapping[str, Any], name: str) -> int | None:
    value = request.get(name)
    # What is wrong with the request is for the provider to say.
    return None if value is None else whole_number(value, name, Flags())


def _prompts(request: Mapping[str, Any]) -> int:
    """Count the prompts of a completion: each has answers of its own."""
    prompt = request.get("prompt")
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
        return len(prompt)
    return 1
