"""Builds the OpenAPI 3.1 document from the tables of routes and pages. Nothing is served here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from msgspec import json

from gateway.api import shown
from gateway.api.examples import EXAMPLES, Example
from gateway.api.fields import HOLD_ID_SCHEMA
from gateway.api.openapi_parts import HEADERS, INFO, RESPONSES, TAGS
from gateway.api.requests import Batch
from gateway.api.routes import Route
from gateway.api.service import Page
from gateway.domain import answers, limit_answers, period_answers
from gateway.domain.answers import Problem
from gateway.domain.fields import FieldError
from gateway.domain.names import Account

_SCHEMAS = "#/components/schemas/{name}"
_WITH_BODY = frozenset({"POST", "PUT"})
_RATE_OR_CONCURRENCY = [
    {
        "properties": {"per": {"enum": ["requests", "amount"]}, "window_seconds": {"type": "integer"}},
        "required": ["window_seconds"],
    },
    {"properties": {"per": {"const": "concurrency"}, "window_seconds": {"type": "null"}}},
]
_ALWAYS = ("401", "403", "422", "500", "503")
_ACTING = ("X-Namespace", "X-Request-Id", "X-Actor-Id", "X-On-Behalf-Of", "X-Actor-Reason")
_REPORTS = frozenset(
    {"balance", "balances", "ledger", "usage", "stats", "account", "audit-events", "decisions"}
)
_SOMETHING_TO_EXTEND = [
    {"properties": {"ttl_seconds": {"type": "integer"}}, "required": ["ttl_seconds"]},
    {"properties": {"amount": {"type": "number"}}, "required": ["amount"]},
    {"properties": {"amounts": {"type": "array", "minItems": 1}}, "required": ["amounts"]},
]
_NAMING_A_LEG = [
    {"properties": {"leg": {"type": "integer"}}, "required": ["leg"]},
    {"anyOf": [{"required": [word]} for word in Account._fields]},
]

Json = dict[str, Any]


class Described(NamedTuple):
    """What another table of routes adds to the document: its paths, and the schemas they speak of."""

    paths: Mapping[str, Json]
    schemas: Mapping[str, Json]


def document(
    routes: Iterable[Route],
    pages: Iterable[Page],
    version: str,
    needs_key: bool,
    beside: Described | None = None,
) -> bytes:
    """Give the document as JSON. ``needs_key`` says whether callers must show one."""
    routes, pages = tuple(routes), tuple(pages)
    schemas = _schemas(routes, pages)
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    for page in pages:
        paths[page.path] = {"get": _page(page)}
    if beside is not None:
        paths |= beside.paths
        schemas |= beside.schemas
    whole = {
        "openapi": "3.1.0",
        "info": {**INFO, "version": version},
        "tags": TAGS,
        "security": [{"key": []}] if needs_key else [],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": HEADERS,
            "responses": RESPONSES,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }
    return json.format(json.encode(whole), indent=1)


def _schemas(routes: Iterable[Route], pages: Iterable[Page]) -> Json:
    shapes: list[Any] = [Problem]
    for route in routes:
        shapes += [route.request, route.answer]
    shapes += [page.answer for page in pages if page.answer is not None]
    _, components = json.schema_components(shapes, ref_template=_SCHEMAS)
    schemas: Json = plain(components)
    for name, schema in schemas.items():
        rooms = (answers, limit_answers, period_answers, shown)
        shape = next((vars(room)[name] for room in rooms if name in vars(room)), None)
        if shape is not None:  # msgspec sorts them; a reader wants the order in which they are declared
            schema["properties"] = {field: schema["properties"][field] for field in shape.__annotations__}
    if "ToldLeg" in schemas:
        schemas["ToldLeg"]["oneOf"] = _NAMING_A_LEG
    for name in {"Extend", "ExtendOperation"} & schemas.keys():
        schemas[name]["anyOf"] = _SOMETHING_TO_EXTEND
    if "SetLimit" in schemas:
        schemas["SetLimit"]["anyOf"] = _RATE_OR_CONCURRENCY
    schemas["Problem"]["properties"]["errors"]["items"] = ref("FieldError")
    schemas["FieldError"] = {
        "type": "object",
        "description": "What is wrong with one field of a request.",
        "properties": {name: {"type": "string"} for name in FieldError._fields},
        "required": list(FieldError._fields),
    }
    return schemas


def plain(schema: Any) -> Any:
    """Say what JSON sees: amounts are numbers, None is null."""
    if isinstance(schema, list):
        return [plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "decimal":
        return {**{key: value for key, value in schema.items() if key != "format"}, "type": "number"}
    said = {key: plain(value) for key, value in schema.items()}
    if isinstance(said.get("description"), str):
        said["description"] = re.sub(r"\bNone\b", "null", said["description"].replace("``", "`"))
    return said


def _operation(route: Route, schemas: Json) -> Json:
    example = EXAMPLES[route.name]
    operation: Json = {
        "operationId": route.name,
        "summary": example.summary,
        "description": example.description,
        "tags": [_tag(route.path)],
        "parameters": [*_path_parameters(route), *_query(route, schemas), *_headers(route)],
        "responses": {"200": _answer(route, example), **_problems(route)},
    }
    if route.method in _WITH_BODY:
        operation["requestBody"] = _body(route, example, schemas)
    return operation


def _body(route: Route, example: Example, schemas: Json) -> Json:
    name = route.request.__name__
    return {
        "required": bool(schemas[name].get("required") or schemas[name].get("anyOf")),
        "content": {"application/json": {"schema": ref(name), "example": example.request}},
    }


def _answer(route: Route, example: Example) -> Json:
    media = {"schema": ref(route.answer.__name__), "example": example.answer}
    return {"description": "The answer.", "content": {"application/json": media}}


def _problems(route: Route) -> Json:
    statuses = [*_ALWAYS]
    if route.method in _WITH_BODY:
        statuses += ["400", "413", "415"]
    if "idempotency_key" in route.request.__struct_fields__:
        statuses.append("409")
    if route.name in {"get_reservation", "get_account", "get_decision", "open_period"}:
        statuses.append("404")
    return {status: {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}


def _path_parameters(route: Route) -> list[Json]:
    if "{reservation_id}" not in route.path:
        return []
    return [{"name": "reservation_id", "in": "path", "required": True, **HOLD_ID_SCHEMA}]


def _query(route: Route, schemas: Json) -> list[Json]:
    if route.method in _WITH_BODY:
        return []
    schema: Mapping[str, Any] = schemas[route.request.__name__]
    example = EXAMPLES[route.name].request
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", ()),
         **parameter(field), **({"example": example[name]} if name in example else {})}
        for name, field in schema["properties"].items()
    ]  # fmt: skip


def parameter(field: Json) -> Json:
    """Give a query parameter of a field: it has no null, and its words stand beside its schema."""
    schema = {key: value for key, value in field.items() if key not in {"description", "examples"}}
    schema.pop("default", None) if schema.get("default", 0) is None else None
    for choice in schema.pop("anyOf", ()):
        if choice.get("type") != "null":
            schema |= choice
    if "enum" in schema:
        schema["enum"] = [word for word in schema["enum"] if word is not None]
    return {"description": field.get("description", ""), "schema": schema}


def _headers(route: Route) -> list[Json]:
    names = [*_ACTING]
    if "idempotency_key" in route.request.__struct_fields__:
        names.insert(0, "Idempotency-Key")
    if "idempotency_key" in route.request.__struct_fields__ or route.request is Batch or _of_periods(route):
        names.insert(0, "Durability")
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _of_periods(route: Route) -> bool:
    return route.path.startswith("/v1/periods/")


def _page(page: Page) -> Json:
    media = page.media.partition(";")[0]
    schema = {} if page.answer is None else {"schema": ref(page.answer.__name__)}
    answers: Json = {"200": {"description": page.summary + ".", "content": {media: schema}}}
    if page.name == "ready":
        answers["503"] = {"description": "Something is in the way.", "content": {media: schema}}
    for status in ("401", "403", "500"):
        answers[status] = {"$ref": f"#/components/responses/{status}"}
    return {
        "operationId": page.name,
        "summary": page.summary,
        "description": "Needs no key from a peer on the same machine.",
        "tags": ["gateway"],
        "responses": answers,
    }


def _tag(path: str) -> str:
    for prefix in ("/v1/reservations", "/v1/check", "/v1/batch"):
        if path.startswith(prefix):
            return "holds"
    return "reports" if path.startswith("/v1/reconcil") or path.split("/")[2] in _REPORTS else "accounts"


def ref(name: str) -> Json:
    """Point at a schema."""
    return {"$ref": _SCHEMAS.format(name=name)}
