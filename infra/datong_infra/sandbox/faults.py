"""Faults on request: what goes wrong between systems, switched on by people and tests.

POST /_sandbox/faults {"target": "erp", "kind": "rate_limit", "count": 2, "match": "A_SalesOrder"}; GET lists the faults
that are on, DELETE /_sandbox/faults[/<id>] switches them off. They live as long as the process.

| kind | what happens to a request | more fields |
| --- | --- | --- |
| rate_limit | 429 with Retry-After | retry_after (seconds), as_date |
| unavailable | 503 with Retry-After; the CRM refuses log-ins | retry_after |
| unauthorized | 401; the CRM's password is another one | |
| drop_connection | the connection is reset before an answer; the CRM ends its sessions | |
| lost_reply | the request is carried out, its answer is lost | |
| error_after | the request is carried out, its answer is 500 | |
| half_batch | the first half of a $batch is carried out, then the connection is reset (ERP) | |
| truncate | the body ends in the middle | |
| error_in_200 | 200, but the body is an error (ERP, MES) | |
| slow | the answer takes longer | seconds |
| lost_delta_token | every delta token of the entity set is forgotten (ERP) | |
| endless_page | the next page is always this page (ERP, MES) | |
| changed_type | a number becomes text, also in $metadata | entity, field |
| extra_field | rows have a field that nobody announced (ERP, MES) | entity, field |

`match` is a regular expression, searched in "METHOD path?query" (decoded). `count` is how many requests it strikes,
null for "until it is switched off"; `skip` lets some pass first; `share` is how many of those that it could strike it
does strike, by dice, 1 for all of them. The CRM's faults last until they are switched off.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Iterator
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from datong_infra.sandbox.model import COLLECTIONS, CRM_TABLES, ENTITY_SETS

Kind = Literal[
    "rate_limit",
    "unavailable",
    "unauthorized",
    "drop_connection",
    "lost_reply",
    "error_after",
    "half_batch",
    "truncate",
    "error_in_200",
    "slow",
    "lost_delta_token",
    "endless_page",
    "changed_type",
    "extra_field",
]
Target = Literal["erp", "mes", "crm"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_LASTING = {"endless_page", "changed_type", "extra_field"}
_OF_CRM = {"unavailable", "unauthorized", "drop_connection", "changed_type"}
_OF_ERP = {"lost_delta_token", "half_batch"}


class Fault(BaseModel):
    """One fault, as it was asked for, and how often it struck."""

    model_config = ConfigDict(extra="forbid")

    target: Target
    kind: Kind
    match: str = ""
    count: int | None = Field(default=1, ge=1)
    skip: int = Field(default=0, ge=0)
    share: float = Field(default=1, gt=0, le=1)
    retry_after: int = Field(default=1, ge=0)
    as_date: bool = False
    seconds: float = Field(default=1, ge=0, le=600)
    entity: str | None = None
    field: str | None = None
    id: int = 0
    struck: int = 0

    @field_validator("match")
    @classmethod
    def _readable(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"{value!r} is not a regular expression: {error}") from None
        return value

    @model_validator(mode="before")
    @classmethod
    def _lasting(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("kind") in _LASTING and "count" not in values:
            return {**values, "count": None}
        return values

    @model_validator(mode="after")
    def _possible(self) -> Fault:
        if self.target == "crm" and self.kind not in _OF_CRM:
            raise ValueError(f"the CRM knows only the faults {', '.join(sorted(_OF_CRM))}")
        if self.target != "erp" and self.kind in _OF_ERP:
            raise ValueError(f"{self.kind} is a fault of the ERP")
        if self.kind in {"changed_type", "extra_field"}:
            self._name_field()
        return self

    def _name_field(self) -> None:
        known = {
            "erp": {name: [f.name for f in e.fields.values() if f.kind == "N"] for name, e in ENTITY_SETS.items()},
            "mes": {p: [c.name for c in t.columns.values() if c.kind == "Q"] for p, t in COLLECTIONS.items()},
            "crm": {n: [c.name for c in t.columns.values() if c.kind == "Q"] for n, t in CRM_TABLES.items()},
        }[self.target]
        if self.entity not in known:
            raise ValueError(f"{self.kind} needs an entity, one of {', '.join(known)}")
        if self.kind == "extra_field":
            self.field = self.field or "ZZ_ADDED"
        elif self.field is None:
            if not known[self.entity]:
                raise ValueError(f"changed_type needs a field: {self.entity} has no number to take by itself")
            self.field = known[self.entity][0]


class Faults:
    """The faults that are on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._dice = random.Random(0)
        self._faults: dict[int, Fault] = {}
        self._next = 1

    def add(self, fault: Fault) -> Fault:
        """Switch a fault on; it gets its id."""
        with self._lock:
            fault.id = self._next
            self._next += 1
            self._faults[fault.id] = fault
        return fault

    def listing(self) -> list[Fault]:
        """The faults that are on."""
        with self._lock:
            return list(self._faults.values())

    def remove(self, number: int | None = None) -> list[Fault]:
        """Switch one fault off, or all; returns those that were on."""
        with self._lock:
            gone = [f for f in self._faults.values() if number in {None, f.id}]
            for fault in gone:
                del self._faults[fault.id]
        return gone

    def strike(self, target: Target, request: str) -> list[Fault]:
        """The faults that strike this request ("METHOD path?query"), counted."""
        with self._lock:
            return list(self._striking(target, request))

    def _striking(self, target: Target, request: str) -> Iterator[Fault]:
        for fault in list(self._faults.values()):
            if fault.target != target or not re.search(fault.match, request) or not _applies(fault, request):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.share < 1 and self._dice.random() >= fault.share:
                continue
            fault.struck += 1
            if fault.count is not None and fault.struck >= fault.count:
                del self._faults[fault.id]
            yield fault


def _applies(fault: Fault, request: str) -> bool:
    if fault.kind == "lost_delta_token":
        return "!deltatoken" in request
    if fault.kind == "half_batch":
        return request.startswith("POST ") and "/$batch" in request
    if fault.kind == "endless_page":
        return request.startswith("GET ") and "$metadata" not in request
    if fault.kind in {"changed_type", "extra_field"}:
        return request.startswith("GET ")
    return True
