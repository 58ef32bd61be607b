"""The document: valid, complete, and true to the application it describes."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.api import SingleKey
from gateway.api.examples import EXAMPLES
from gateway.api.routes import ROUTES


@pytest.fixture
async def document(gateway: Any) -> Any:
    answer = await gateway.get("/openapi.json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    return answer.json


def validator(document: Any, schema: Any) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": document["components"]})


async def test_the_document_is_valid_openapi(document: Any) -> None:
    assert document["openapi"].startswith("3.1")
    assert document["info"]["version"] == "1.2.3"
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


async def test_the_document_knows_every_route_and_page(document: Any) -> None:
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    pages = {("GET", path) for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs")}
    assert described == {(route.method, route.path) for route in ROUTES} | pages
    names = [
        operation["operationId"] for methods in document["paths"].values() for operation in methods.values()
    ]
    assert len(set(names)) == len(names)
    assert set(EXAMPLES) == {route.name for route in ROUTES}


async def test_amounts_are_numbers_and_unknown_fields_are_refused(document: Any) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["Reserve"]["properties"]["amount"]["type"] == "number"
    assert schemas["Reserved"]["properties"]["balance"] == {"type": "number"}
    assert schemas["Reserve"]["required"] == ["user_id", "event_type", "amount", "unit"]
    for route in ROUTES:
        if route.method == "POST":
            assert schemas[route.request.__name__]["additionalProperties"] is False
    assert '"decimal"' not in msgspec.json.encode(document["components"]["schemas"]).decode()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_examples_are_what_they_show(gateway: Any, document: Any, route: Any) -> None:
    example = EXAMPLES[route.name]
    operation = document["paths"][route.path][route.method.lower()]
    path = route.path.replace("{reservation_id}", "rsv_0_6f1d0c8e5b7a4f2d9c3e1a08")
    if route.method in {"POST", "PUT"}:
        body = operation["requestBody"]["content"]["application/json"]
        assert body["example"] == example.request
        validator(document, body["schema"]).validate(example.request)
        answer = await gateway.ask(route.method, path, example.request)
    else:
        for parameter in (one for one in operation["parameters"] if one.get("in") == "query"):
            if parameter["name"] in example.request:
                validator(document, parameter["schema"]).validate(example.request[parameter["name"]])
        answer = await gateway.ask(route.method, f"{path}?{urlencode(example.request)}")
    assert answer.status == 200, answer.body
    told = operation["responses"]["200"]["content"]["application/json"]
    validator(document, told["schema"]).validate(example.answer)
    validator(document, told["schema"]).validate(answer.json)


async def test_problems_are_what_they_show(document: Any) -> None:
    for status, response in document["components"]["responses"].items():
        media = response["content"]["application/problem+json"]
        validator(document, media["schema"]).validate(media["example"])
        assert media["example"]["status"] == int(status)


async def test_the_document_asks_for_a_key_where_the_gateway_does(make_gateway: Any, document: Any) -> None:
    assert document["security"] == []
    keyed = await make_gateway(authenticator=SingleKey("k" * 16)).get("/openapi.json")
    assert keyed.json["security"] == [{"key": []}]
