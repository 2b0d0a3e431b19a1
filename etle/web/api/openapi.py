"""The description of the API: what FastAPI knows of the routes, and what the policy says of who may use them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from etle.web.access import Rule, policy
from etle.web.api.problems import problems
from etle.web.errors import Problem

_SCHEMES = {
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "etle_session",
        "description": "Set by `POST /api/v1/login`; named `__Host-etle` where the deployment is reached over HTTPS.",
    },
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API token of `POST /api/v1/tokens`, with the scope named at the operation.",
    },
}


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once."""
    if app.openapi_schema is None:
        document = FastAPI.openapi(app)
        schemas = document["components"]["schemas"]
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        schemas["Problem"] = Problem.model_json_schema()
        document["components"]["securitySchemes"] = _SCHEMES
        rules = {key.replace(":path}", "}"): rule for key, rule in policy().rules.items()}
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                _complete(operation, rules[f"{method.upper()} {path}"])
        app.openapi_schema = document
    return app.openapi_schema


def _complete(operation: dict[str, Any], rule: Rule) -> None:
    answers = operation["responses"]
    extra = {429, 503}
    if rule.access == "account":
        extra |= {401, 403, 422}
        ways: list[dict[str, list[str]]] = [{"session": []}]
        if rule.scope is not None:
            ways.append({"token": [rule.scope]})
        operation["security"] = ways
        operation["x-roles"] = sorted(rule.roles)
        operation["description"] += f"\n\nRoles: {', '.join(sorted(rule.roles))}."
    if "requestBody" in operation:
        extra.add(400)
    if "requestBody" in operation or operation.get("parameters"):
        extra.add(422)
    described = problems(*extra)
    for status, answer in described.items():
        if str(status) not in answers or "application/json" in answers[str(status)].get("content", {}):
            answers[str(status)] = answer
    for status, answer in answers.items():
        if int(status) >= 400:
            answer["content"] = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    operation["responses"] = {status: answers[status] for status in sorted(answers)}
