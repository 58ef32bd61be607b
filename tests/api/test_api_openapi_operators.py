"""The document of the operators' routes, from their table: beside the API and on a port of its own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from keyrings import Clock, KeptKeys, ring_of
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.admin import admin_app
from gateway.admin.routes import ADMIN_ROUTES
from gateway.api.endpoint import Gate
from gateway.api.routes import ROUTES

SERVED = {(route.method, route.path) for route in ADMIN_ROUTES}


def described(document: Any) -> set[tuple[str, str]]:
    return {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}


async def own_port(gateway: Any) -> Any:
    """Give the document as the operators' own port serves it."""
    gate = Gate(gateway.meters, ring_of(KeptKeys(), Clock()), 1024)
    gateway.app = admin_app(gate, gateway.desk(), "1.2.3")
    return (await gateway.get("/openapi.json")).json


@pytest.fixture(params=["beside", "apart"])
async def document(make_gateway: Any, request: pytest.FixtureRequest) -> Any:
    gateway = make_gateway(operators=True)
    if request.param == "apart":
        return await own_port(gateway)
    return (await gateway.get("/openapi.json")).json


async def test_every_route_of_operators_is_in_a_valid_document(document: Any) -> None:
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert {found for found in described(document) if found[1].startswith("/admin")} == SERVED
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)


async def test_beside_the_api_are_both_and_apart_only_the_one(make_gateway: Any) -> None:
    beside = (await make_gateway(operators=True).get("/openapi.json")).json
    assert described(beside) >= SERVED | {(route.method, route.path) for route in ROUTES}
    assert described(await own_port(make_gateway(operators=True))) == SERVED | {("GET", "/openapi.json")}
    alone = (await make_gateway().get("/openapi.json")).json
    assert not described(alone) & SERVED


async def test_what_it_says_of_a_route_is_what_the_table_says(document: Any) -> None:
    for route in ADMIN_ROUTES:
        operation = document["paths"][route.path][route.method.lower()]
        schema = document["components"]["schemas"][f"Admin{route.request.__name__}"]
        names = {parameter.get("name") for parameter in operation["parameters"] if "name" in parameter}
        if route.method == "GET":
            assert names == set(schema["properties"])
        else:
            assert names == ({"target"} if "{target}" in route.path else set())
            content = operation["requestBody"]["content"]["application/json"]
            assert content["schema"]["$ref"].endswith(f"/Admin{route.request.__name__}")
            assert schema["additionalProperties"] is False
        told = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
        assert told.endswith(f"/Admin{route.answer.__name__}")


async def test_an_answer_fits_what_is_said_of_it(make_gateway: Any) -> None:
    gateway = make_gateway(operators=True)
    document = (await gateway.get("/openapi.json")).json
    for path in ("/admin/v1/flusher", "/admin/v1/holds", "/admin/v1/reconciliations"):
        answer = await gateway.get(path)
        schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert answer.status == 200
        Draft202012Validator({**schema, "components": document["components"]}).validate(answer.json)
    assert "decimal" not in msgspec.json.encode(document["components"]["schemas"]["AdminAccount"]).decode()


async def test_every_part_of_a_path_has_an_example_to_paste(document: Any) -> None:
    parts = [
        part
        for methods in document["paths"].values()
        for operation in methods.values()
        for part in operation.get("parameters", ())
        if part.get("in") == "path"
    ]
    assert parts
    assert all(part.get("example") for part in parts)
