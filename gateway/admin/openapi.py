"""What the OpenAPI document says of the operators' routes, from their table. Nothing is served here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import json

from gateway.admin.routes import ADMIN_ROUTES, AdminRoute
from gateway.api.openapi import Described, Json, parameter, plain, ref

_PREFIX = "Admin"  # the API has shapes of the same names
_SCHEMAS = f"#/components/schemas/{_PREFIX}{{name}}"
_HEADERS = ("X-Namespace", "X-Request-Id", "X-Actor-Id", "X-On-Behalf-Of", "X-Actor-Reason")
_ALWAYS = ("401", "403", "422", "500", "503")


def described() -> Described:
    """Give what the document needs to know."""
    shapes = [shape for route in ADMIN_ROUTES for shape in (route.request, route.answer)]
    _, components = json.schema_components(shapes, ref_template=_SCHEMAS)
    schemas: Json = plain({f"{_PREFIX}{name}": schema for name, schema in components.items()})
    paths: dict[str, Json] = {}
    for route in ADMIN_ROUTES:
        asked = schemas[_name(route.request)]
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, asked)
    return Described(paths, schemas)


def _name(shape: Any) -> str:
    return f"{_PREFIX}{shape.__name__}"


def _operation(route: AdminRoute, asked: Json) -> Json:
    media = {"schema": ref(_name(route.answer))}
    statuses = [*_ALWAYS, *(("400", "413", "415") if route.method == "POST" else ())]
    statuses += ["404"] if "{target}" in route.path else []
    operation: Json = {
        "operationId": f"admin_{route.name}",
        "summary": route.summary,
        "tags": ["operators"],
        "parameters": [*_parameters(route, asked), *map(_header, _HEADERS)],
        "responses": {
            "200": {"description": "The answer.", "content": {"application/json": media}},
            **{status: {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)},
        },
    }
    if route.method == "POST":
        body = {"application/json": {"schema": ref(_name(route.request))}}
        operation["requestBody"] = {"required": bool(asked.get("required")), "content": body}
    return operation


def _parameters(route: AdminRoute, asked: Json) -> list[Json]:
    if "{target}" in route.path:
        text = {"type": "string", "minLength": 1}
        example = "rsv_0_6f1d0c8e5b7a4f2d9c3e1a08" if "/holds/" in route.path else "k7vw2mq4xtzc3hpa"
        return [{"name": "target", "in": "path", "required": True, "schema": text, "example": example}]
    if route.method == "POST":
        return []
    fields: Mapping[str, Any] = asked["properties"]
    return [
        {"name": name, "in": "query", "required": name in asked.get("required", ()), **parameter(field)}
        for name, field in fields.items()
    ]


def _header(name: str) -> Json:
    return {"$ref": f"#/components/parameters/{name}"}
