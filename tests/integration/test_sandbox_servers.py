"""The sandbox's ERP and MES over HTTP, as a process of its own: what a connector meets, faults and kill -9 too."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from datong_infra.sandbox import client as controls
from datong_infra.sandbox.model import COLLECTIONS, ENTITY_SETS, SERVICES
from datong_platform import settings
from datong_platform.errors import ConfigurationError, ServiceError
from sandbox_process import SandboxProcess

UNITS = {"pcs": "ST", "kg": "KG", "m": "M", "L": "L"}
DOCUMENTS = "API_MATERIAL_DOCUMENT_SRV/A_MaterialDocumentHeader"
ORDERS = "API_SALES_ORDER_SRV/A_SalesOrder"


class Plant:
    """A sandbox process with its connections."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.process: SandboxProcess | None = None

    def start(self) -> Plant:
        self.process = SandboxProcess(self.home, "--scale", "0.1", "--seed", "3", "--page-size", "100")
        self.known = self.process.known
        self.erp = httpx.Client(
            base_url=self.known["ERP_URL"] + "/", auth=(self.known["ERP_USER"], self.known["ERP_PASSWORD"]), timeout=30
        )
        self.mes = httpx.Client(
            base_url=self.known["MES_URL"] + "/", headers={"authorization": f"Bearer {self.known['MES_TOKEN']}"}
        )
        return self

    def stop(self, *, kill: bool = False) -> None:
        assert self.process
        self.erp.close()
        self.mes.close()
        self.process.kill() if kill else self.process.end()

    def control(self, method: str, path: str, body: Any = None) -> Any:
        return httpx.request(method, f"{self.known['SANDBOX_URL']}/_sandbox/{path}", json=body, timeout=60).json()

    def fault(self, target: str, kind: str, **more: Any) -> Any:
        return self.control("POST", "faults", {"target": target, "kind": kind, **more})

    def rows(self, url: str) -> tuple[list[dict[str, Any]], str | None]:
        """All rows of an entity set, every page of it, and the link to its changes."""
        found: list[dict[str, Any]] = []
        while True:
            answer = self.erp.get(url)
            assert answer.status_code == 200, answer.text
            page = answer.json()["d"]
            found += page["results"]
            if "__next" not in page:
                return found, page.get("__delta")
            url = page["__next"]

    def token(self) -> dict[str, str]:
        return {
            "x-csrf-token": self.erp.get(ORDERS + "?$top=1", headers={"x-csrf-token": "Fetch"}).headers["x-csrf-token"]
        }

    def unposted(self) -> dict[str, Any]:
        """A consumption event that nobody posted yet."""
        posted = {r["ReferenceDocument"] for r in self.rows(f"{DOCUMENTS}?$filter=GoodsMovementCode eq '03'")[0]}
        events = self.mes.get("material-consumptions", params={"limit": 5000}).json()["data"]
        return next(e for e in reversed(events) if e["eventId"] not in posted)

    def issue(self, event: dict[str, Any], **item: str) -> dict[str, Any]:
        """A material document for a consumption event."""
        return {
            "GoodsMovementCode": "03",
            "ReferenceDocument": event["eventId"],
            "MaterialDocumentHeaderText": "Consumption",
            "DocumentDate": "/Date(1793404800000)/",
            "to_MaterialDocumentItem": [
                {
                    "Material": event["partNo"],
                    "Plant": "1010",
                    "GoodsMovementType": "261",
                    "ManufacturingOrder": event["orderNo"],
                    "ReservationItem": event["reservationItem"],
                    "QuantityInEntryUnit": f"{event['quantity']:.3f}",
                    "EntryUnit": UNITS[event["unit"]],
                    **item,
                }
            ],
        }


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    found = Plant(tmp_path_factory.mktemp("sandbox")).start()
    yield found
    found.stop()


@pytest.fixture(autouse=True)
def _no_fault_stays_on(plant: Plant) -> Iterator[None]:
    yield
    plant.control("DELETE", "faults")


# ---- ERP, reading


def test_nobody_gets_in_without_the_password(plant: Plant) -> None:
    for auth in (None, ("DATONG", "wrong")):
        answer = httpx.get(f"{plant.known['ERP_URL']}/{ORDERS}", auth=auth)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic")


@pytest.mark.parametrize("service", SERVICES)
def test_metadata_tells_types_keys_and_sizes(plant: Plant, service: str) -> None:
    answer = plant.erp.get(f"{service}/$metadata")
    edm = "{http://schemas.microsoft.com/ado/2008/09/edm}"
    root = ElementTree.fromstring(answer.content)
    types = {t.attrib["Name"]: t for t in root.iter(f"{edm}EntityType")}
    for entity in SERVICES[service]:
        declared = types[entity.type_name]
        assert [k.attrib["Name"] for k in declared.iter(f"{edm}PropertyRef")] == list(entity.keys)
        properties = {p.attrib["Name"]: p.attrib for p in declared.iter(f"{edm}Property")}
        assert list(properties)[: len(entity.fields)] == list(entity.fields)
        for field in entity.fields.values():
            assert properties[field.name]["Type"] == field.edm
            if field.kind == "N":
                assert (properties[field.name]["Precision"], properties[field.name]["Scale"]) == (
                    str(field.length),
                    str(field.scale),
                )
            if field.kind == "S":
                assert properties[field.name]["MaxLength"] == str(field.length)
        for navigation in entity.navigations:
            assert navigation.name in {n.attrib["Name"] for n in declared.iter(f"{edm}NavigationProperty")}


def test_every_entity_set_is_read_to_the_end_page_by_page(plant: Plant) -> None:
    counts = plant.control("GET", "status")["rows"]
    for entity in ENTITY_SETS.values():
        rows, delta = plant.rows(f"{entity.service}/{entity.name}")
        keys = {tuple(r[k] for k in entity.keys) for r in rows}
        assert len(rows) == len(keys) == counts[f"erp.{entity.name}"]
        assert bool(delta) == entity.delta
        for field in entity.fields.values():
            pattern = {
                "S": f".{{0,{field.length}}}",
                "N": r"-?\d+" + (rf"\.\d{{{field.scale}}}" if field.scale else ""),
                "D": r"/Date\(-?\d+\)/",
                "O": r"/Date\(-?\d+\+0000\)/",
                "T": r"PT\d\dH\d\dM\d\dS",
                "B": "True|False",
            }[field.kind]
            wrong = [r[field.name] for r in rows if not re.fullmatch(pattern, str(r[field.name]))]
            assert not [w for w in wrong if not (w is None and field.kind == "D")], (entity.name, field.name)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("SalesOrder eq '500003'", lambda r: r["SalesOrder"] == "500003"),
        ("SalesOrder gt '500010' and SalesOrder le '500020'", lambda r: "500010" < r["SalesOrder"] <= "500020"),
        ("TotalNetAmount ge 12000.5M", lambda r: float(r["TotalNetAmount"]) >= 12000.5),
        ("20000 lt TotalNetAmount", lambda r: float(r["TotalNetAmount"]) > 20000),
        (
            "SalesOrderDate ge datetime'2026-10-01T00:00:00'",
            lambda r: int(r["SalesOrderDate"][6:-2]) >= 1790812800000,
        ),
        (
            "LastChangeDateTime gt datetimeoffset'2026-10-20T08:00:00+08:00'",
            lambda r: int(r["LastChangeDateTime"][6:19]) > 1792454400000,
        ),
        ("substringof('03',SalesOrder)", lambda r: "03" in r["SalesOrder"]),
        ("startswith(SoldToParty,'10000') eq true", lambda r: r["SoldToParty"].startswith("10000")),
        ("endswith(SalesOrder,'7')", lambda r: r["SalesOrder"].endswith("7")),
        (
            "not (OverallSDProcessStatus eq 'C') and (CreatedByUser eq 'LIUY' or CreatedByUser eq 'CHENJ')",
            lambda r: r["OverallSDProcessStatus"] != "C" and r["CreatedByUser"] in {"LIUY", "CHENJ"},
        ),
        ("PurchaseOrderByCustomer ne null", lambda _: True),
    ],
)
def test_filters_give_the_rows_for_which_they_hold(plant: Plant, condition: str, holds: Any) -> None:
    every, _ = plant.rows(ORDERS)
    wanted = {r["SalesOrder"] for r in every if holds(r)}
    found, _ = plant.rows(f"{ORDERS}?$filter={httpx.QueryParams({'f': condition})['f']}".replace("+", "%2B"))
    assert {r["SalesOrder"] for r in found} == wanted
    assert wanted
    count = plant.erp.get(f"{ORDERS}/$count", params={"$filter": condition})
    assert int(count.text) == len(wanted)


@pytest.mark.parametrize(
    "option",
    [
        "$filter=Nothing eq 1",
        "$filter=SalesOrder eq 5",
        "$filter=SalesOrder eq",
        "$filter=SalesOrder like 'x'",
        "$filter=LastChangeDateTime gt datetimeoffset'yesterday'",
        "$select=Nothing",
        "$expand=to_Nothing",
        "$orderby=SalesOrder sideways",
        "$top=-1",
        "$unknown=1",
        "$skiptoken=@@@",
    ],
)
def test_an_option_that_cannot_be_read_is_a_bad_request_in_saps_words(plant: Plant, option: str) -> None:
    answer = plant.erp.get(f"{ORDERS}?{option}")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"]
    assert error["message"]["value"]
    assert error["innererror"]["errordetails"]


def test_order_top_skip_and_count_hold_over_pages(plant: Plant) -> None:
    every, _ = plant.rows("API_SALES_ORDER_SRV/A_SalesOrderItem")
    wanted = sorted(every, key=lambda r: (-float(r["NetAmount"]), r["SalesOrder"], r["SalesOrderItem"]))[5:155]
    address = "API_SALES_ORDER_SRV/A_SalesOrderItem?$orderby=NetAmount desc&$skip=5&$top=150&$inlinecount=allpages"
    assert plant.erp.get(address).json()["d"]["__count"] == str(len(every))
    found, delta = plant.rows(address)
    assert [r["__metadata"]["uri"] for r in found] == [r["__metadata"]["uri"] for r in wanted]
    assert delta is None


def test_a_client_can_ask_for_smaller_pages_but_not_for_larger_ones(plant: Plant) -> None:
    for wanted, given in ((7, 7), (5000, 100)):
        answer = plant.erp.get(DOCUMENTS, headers={"prefer": f"odata.maxpagesize={wanted}"})
        assert len(answer.json()["d"]["results"]) == given


def test_select_and_expand_give_what_was_asked_and_nothing_else(plant: Plant) -> None:
    row = plant.erp.get(f"{ORDERS}?$select=SalesOrder,to_Item/Material&$expand=to_Item&$top=1").json()["d"]["results"][
        0
    ]
    assert set(row) == {"__metadata", "SalesOrder", "to_Item"}
    assert all(set(item) == {"__metadata", "Material"} for item in row["to_Item"]["results"])
    items, _ = plant.rows(f"{row['__metadata']['uri']}/to_Item")
    assert len(items) == len(row["to_Item"]["results"]) > 0
    order, _ = plant.rows("API_PRODUCTION_ORDER_2_SRV/A_ProductionOrder_2?$expand=to_ProductionOrderComponent&$top=150")
    assert len(order) == 150
    for one in order:
        components = one["to_ProductionOrderComponent"]["results"]
        assert components
        assert {c["ManufacturingOrder"] for c in components} == {one["ManufacturingOrder"]}


def test_one_entity_is_found_by_its_key_with_or_without_zeros(plant: Plant) -> None:
    for number in ("000001000001", "1000001"):
        answer = plant.erp.get(f"API_PRODUCTION_ORDER_2_SRV/A_ProductionOrder_2('{number}')")
        assert answer.json()["d"]["ManufacturingOrder"] == "000001000001"
        assert answer.headers["etag"] == answer.json()["d"]["__metadata"]["etag"]
    item = plant.erp.get("API_SALES_ORDER_SRV/A_SalesOrderItem(SalesOrder='500001',SalesOrderItem='10')/to_SalesOrder")
    assert item.json()["d"]["SalesOrder"] == "500001"
    for address, status in (("('1')", 404), ("(Wrong='1')", 400), ("('500001')/to_Nothing", 404)):
        assert plant.erp.get(f"{ORDERS}{address}").status_code == status
    assert plant.erp.get("API_SALES_ORDER_SRV/A_Nothing").status_code == 404
    assert plant.erp.get("API_NOTHING_SRV/A_SalesOrder").status_code == 403


def test_the_delta_link_tells_inserts_updates_and_deletes(plant: Plant) -> None:
    before, links = {}, {}
    for name in ("A_SalesOrder", "A_SalesOrderItem"):
        rows, links[name] = plant.rows(f"API_SALES_ORDER_SRV/{name}")
        before[name] = {r["__metadata"]["uri"]: r for r in rows}
    assert plant.rows(links["A_SalesOrder"])[0] == [], "nothing happened yet"
    seen: set[str] = set()
    for name, rows in before.items():
        now = dict(rows)
        for _ in range(15):
            plant.control("POST", "advance", {"days": 1, "seed": 11})
            changes, links[name] = plant.rows(links[name])
            for row in changes:
                uri = row["__metadata"]["uri"]
                seen.add(row["ODQ_CHANGEMODE"])
                if row["ODQ_CHANGEMODE"] == "D":
                    assert now.pop(uri, None) is not None or uri not in rows
                else:
                    assert (row["ODQ_CHANGEMODE"] == "C") == (uri not in now)
                    now[uri] = row
        present = {r["__metadata"]["uri"]: r for r in plant.rows(f"API_SALES_ORDER_SRV/{name}")[0]}
        for row in (*now.values(), *present.values()):
            row.pop("ODQ_CHANGEMODE")
        assert now == present
    assert seen == {"C", "U", "D"}


def test_a_token_of_another_plant_or_none_at_all_is_gone(plant: Plant) -> None:
    for token in ("D20260101000000_abcdef0000000000000001", "nonsense"):
        answer = plant.erp.get(f"{ORDERS}?!deltatoken='{token}'")
        assert answer.status_code == 410
        assert answer.json()["error"]["code"] == "/IWBEP/CX_QRL_DELTA_UNAVAILABLE"


# ---- ERP, writing


def test_a_write_without_the_csrf_token_or_its_session_is_forbidden(plant: Plant) -> None:
    token = plant.token()
    stranger = httpx.Client(base_url=plant.erp.base_url, auth=plant.erp.auth)
    for who, headers in ((plant.erp, {}), (plant.erp, {"x-csrf-token": "wrong"}), (stranger, token)):
        answer = who.post(DOCUMENTS, json={}, headers=headers)
        assert answer.status_code == 403
        assert answer.headers["x-csrf-token"] == "Required"
        assert answer.text == "CSRF token validation failed"
    assert plant.token() == token, "one session keeps its token"


def test_a_goods_issue_books_stock_and_withdrawn_quantity_but_moves_nothing_twice(plant: Plant) -> None:
    event = plant.unposted()
    truth = plant.control("GET", "truth")
    document = plant.issue(event)
    answer = plant.erp.post(DOCUMENTS, json=document, headers=plant.token())
    assert answer.status_code == 201, answer.text
    made = answer.json()["d"]
    item = made["to_MaterialDocumentItem"]["results"][0]
    assert answer.headers["location"] == made["__metadata"]["uri"]
    assert plant.erp.get(answer.headers["location"]).json()["d"]["ReferenceDocument"] == event["eventId"]
    assert item["QuantityInBaseUnit"] == f"{event['quantity']:.3f}"
    assert (item["DebitCreditCode"], item["GoodsMovementType"]) == ("H", "261")
    component = plant.erp.get(
        "API_PRODUCTION_ORDER_2_SRV/A_ProductionOrderComponent_2"
        f"(Reservation='{item['Reservation']}',ReservationItem='{item['ReservationItem']}')"
    ).json()["d"]
    assert component["Material"] == item["Material"]
    documents, _ = plant.rows(
        "API_MATERIAL_DOCUMENT_SRV/A_MaterialDocumentItem"
        f"?$filter=Reservation eq '{item['Reservation']}' and ReservationItem eq '{item['ReservationItem']}'"
    )
    assert float(component["WithdrawnQuantity"]) == pytest.approx(
        sum(float(d["QuantityInBaseUnit"]) for d in documents if d["GoodsMovementType"] == "261")
    )
    after = plant.control("GET", "truth")
    assert after["stock"] == truth["stock"], "the shop floor took it long ago"
    assert after["consumption"]["posted"] == truth["consumption"]["posted"] + 1
    assert after["consumption"]["unposted"] == truth["consumption"]["unposted"] - 1


@pytest.mark.parametrize(
    ("item", "code", "words"),
    [
        ({"ManufacturingOrder": "7777777"}, "CO/017", "Order 7777777 does not exist"),
        ({"QuantityInEntryUnit": "9000000.000"}, "M7/021", "Deficit"),
        ({"Material": "NONE-1"}, "M3/305", "NONE-1 does not exist"),
        ({"Plant": "9999"}, "M3/351", "not maintained in plant 9999"),
        ({"EntryUnit": "XX"}, "M3/025", "Unit XX"),
        ({"ReservationItem": "4711"}, "M7/097", "item 4711 does not exist"),
        ({"GoodsMovementType": "101"}, "M7/093", "'101' is not allowed"),
        ({"QuantityInEntryUnit": "0"}, "M7/022", "greater than zero"),
        ({"QuantityInEntryUnit": "1.23456"}, "/IWCOR/CX_DS_EDM_FACET_ERROR/001", "1.23456"),
        ({"MaterialDocumentItemText": "x" * 51}, "/IWCOR/CX_DS_EDM_FACET_ERROR/002", "longer than 50"),
        ({"Colour": "red"}, "/IWBEP/CM_MGW_RT/021", "'Colour' is invalid"),
    ],
)
def test_a_refused_document_says_why_and_leaves_no_trace(
    plant: Plant, item: dict[str, str], code: str, words: str
) -> None:
    before = plant.control("GET", "status")["rows"], plant.rows("API_MATERIAL_STOCK_SRV/A_MatlStkInAcctMod")
    answer = plant.erp.post(DOCUMENTS, json=plant.issue(plant.unposted(), **item), headers=plant.token())
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code
    assert words in answer.json()["error"]["message"]["value"]
    assert before == (plant.control("GET", "status")["rows"], plant.rows("API_MATERIAL_STOCK_SRV/A_MatlStkInAcctMod"))


def test_a_sales_order_changes_only_under_the_etag_that_was_read(plant: Plant) -> None:
    address, token = f"{ORDERS}('500002')", plant.token()
    etag = plant.erp.get(address).headers["etag"]
    body = {"YY1_ProductionStatus_SDH": "IN_PRODUCTION"}
    assert plant.erp.patch(address, json=body, headers=token).status_code == 428
    assert plant.erp.patch(address, json=body, headers={**token, "if-match": etag}).status_code == 204
    assert plant.erp.patch(address, json=body, headers={**token, "if-match": etag}).status_code == 412
    now = plant.erp.get(address)
    assert now.json()["d"]["YY1_ProductionStatus_SDH"] == "IN_PRODUCTION"
    assert now.headers["etag"] != etag
    tunnel = {**token, "if-match": now.headers["etag"], "x-http-method": "MERGE"}
    assert plant.erp.post(address, json={"d": {"YY1_ProductionStatus_SDH": "PRODUCED"}}, headers=tunnel).is_success
    for wrong, status in (
        ({"YY1_ProductionStatus_SDH": "MAYBE"}, 400),
        ({"TotalNetAmount": "1.000"}, 400),
        ({"Nothing": 1}, 400),
    ):
        assert plant.erp.patch(address, json=wrong, headers={**token, "if-match": "*"}).status_code == status
    assert plant.erp.patch(f"{ORDERS}('1')", json=body, headers={**token, "if-match": "*"}).status_code == 404
    assert plant.erp.delete(address, headers=token).status_code == 405


def batch(parts: str) -> dict[str, Any]:
    return {"content": parts.replace("\n", "\r\n"), "headers": {"content-type": "multipart/mixed; boundary=outer"}}


def test_a_changeset_is_all_or_nothing_and_each_part_of_a_batch_has_its_status(plant: Plant) -> None:
    template = """--outer
Content-Type: application/http
Content-Transfer-Encoding: binary

GET A_SalesOrder('500004')?$select=SalesOrder HTTP/1.1
Accept: application/json


--outer
Content-Type: multipart/mixed; boundary=inner

--inner
Content-Type: application/http
Content-ID: 1

PATCH A_SalesOrder('500004') HTTP/1.1
Content-Type: application/json
If-Match: *

{"YY1_ProductionStatus_SDH":"PRODUCED"}
--inner
Content-Type: application/http
Content-ID: 2

PATCH A_SalesOrder('500005') HTTP/1.1
Content-Type: application/json
If-Match: *

{"YY1_ProductionStatus_SDH":"%s"}
--inner--
--outer
Content-Type: application/http

GET A_SalesOrder('1') HTTP/1.1


--outer--
"""
    for value, statuses, wanted in (
        ("WRONG", ["200", "400", "404"], ""),
        ("PRODUCED", ["200", "204", "204", "404"], "PRODUCED"),
    ):
        request = batch(template % value)
        request["headers"] |= plant.token()
        answer = plant.erp.post("API_SALES_ORDER_SRV/$batch", **request)
        assert answer.status_code == 202
        assert re.findall(r"HTTP/1\.1 (\d{3})", answer.text) == statuses
        for number in ("500004", "500005"):
            assert plant.erp.get(f"{ORDERS}('{number}')").json()["d"]["YY1_ProductionStatus_SDH"] == wanted
    broken = plant.erp.post(
        "API_SALES_ORDER_SRV/$batch",
        content="nothing",
        headers={**plant.token(), "content-type": "multipart/mixed; boundary=outer"},
    )
    assert broken.status_code == 400


# ---- MES


def test_the_mes_wants_its_token(plant: Plant) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}):
        assert httpx.get(f"{plant.known['MES_URL']}/work-orders", headers=headers).status_code == 401


def test_lists_are_read_to_the_end_in_the_order_of_recording(plant: Plant) -> None:
    counts = plant.control("GET", "status")["rows"]
    for path, table in COLLECTIONS.items():
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = plant.mes.get(path, params={"limit": 400, **({"cursor": cursor} if cursor else {})}).json()
            found += page["data"]
            cursor = page["next_cursor"]
        assert len(found) == counts[f"mes.{path}"]
        times = [r[table.order] for r in found]
        assert times == sorted(times)
        assert all(t.endswith("+08:00") for t in times)
        middle = times[len(times) // 2]
        since = plant.mes.get(path, params={"updated_since": middle, "limit": 5000}).json()["data"]
        assert since == [r for r in found if r[table.order] >= middle][:5000]
        order = found[0]["orderNo"]
        some = plant.mes.get(path, params={"orderNo": order, "limit": 5000}).json()["data"]
        assert some == [r for r in found if r["orderNo"] == order]


@pytest.mark.parametrize("option", ["limit=0", "limit=100000", "cursor=@@", "updated_since=soon", "colour=red"])
def test_a_list_option_that_cannot_be_read_is_refused(plant: Plant, option: str) -> None:
    answer = plant.mes.get(f"work-orders?{option}")
    assert answer.status_code == 422
    assert answer.json()["error"]["message"]


def work_order(**more: Any) -> dict[str, Any]:
    return {
        "orderNo": "1999001",
        "partNo": "fg-1001",
        "quantity": 3,
        "unit": "pcs",
        "plannedStart": "2026-11-02T08:00:00+08:00",
        "plannedEnd": "2026-11-05T17:00:00+08:00",
        **more,
    }


def test_a_work_order_is_made_once_however_often_it_is_sent(plant: Plant) -> None:
    key = {"idempotency-key": "a-1"}
    first = plant.mes.post("work-orders", json=work_order(), headers=key)
    again = plant.mes.post("work-orders", json=work_order(), headers=key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    number = first.json()["workOrderNo"]
    assert first.json()["status"] == "已下达"
    assert plant.mes.get(f"work-orders/{number}").json() == first.json()
    other = plant.mes.post("work-orders", json=work_order(), headers={"idempotency-key": "a-2"})
    assert other.status_code == 409
    assert other.json()["error"]["details"]["workOrderNo"] == number
    reused = plant.mes.post("work-orders", json=work_order(quantity=4), headers=key)
    assert reused.status_code == 422
    assert plant.mes.post("work-orders", json=work_order()).status_code == 400
    assert plant.mes.get("work-orders", params={"orderNo": "1999001"}).json()["data"] == [first.json()]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (work_order(quantity=0), "quantity"),
        (work_order(quantity="3"), "quantity"),
        (work_order(unit="kg"), "unit"),
        (work_order(partNo="FG-9999"), "partNo"),
        (work_order(orderNo=""), "orderNo"),
        (work_order(plannedEnd="2026-11-01T08:00:00+08:00"), "plannedEnd"),
        (work_order(colour="red"), "colour"),
    ],
)
def test_a_work_order_that_is_wrong_names_the_field(plant: Plant, body: dict[str, Any], field: str) -> None:
    answer = plant.mes.post("work-orders", json=body, headers={"idempotency-key": f"wrong-{field}"})
    assert answer.status_code == 422
    assert list(answer.json()["error"]["details"]["fields"]) == [field]


def test_a_work_order_changes_only_under_the_version_that_was_read(plant: Plant) -> None:
    made = plant.mes.post("work-orders", json=work_order(orderNo="1999002"), headers={"idempotency-key": "b-1"})
    address, etag = f"work-orders/{made.json()['workOrderNo']}", made.headers["etag"]
    assert plant.mes.patch(address, json={"quantity": 5}).status_code == 428
    changed = plant.mes.patch(address, json={"quantity": 5}, headers={"if-match": etag})
    assert (changed.status_code, changed.json()["quantity"], changed.json()["version"]) == (200, 5.0, 2)
    assert plant.mes.patch(address, json={"quantity": 6}, headers={"if-match": etag}).status_code == 412
    assert plant.mes.patch(address, json={"orderNo": "1"}, headers={"if-match": "*"}).status_code == 422
    assert plant.mes.patch(address, json={"status": "已关闭"}, headers={"if-match": "*"}).is_success
    assert plant.mes.patch(address, json={"quantity": 6}, headers={"if-match": "*"}).status_code == 409
    assert plant.mes.get("work-orders/WO-999999").status_code == 404


def test_the_plant_produces_what_the_mes_was_told(plant: Plant) -> None:
    released, _ = plant.rows(
        "API_PRODUCTION_ORDER_2_SRV/A_ProductionOrder_2?$filter=OrderIsReleased eq 'X' and"
        " OrderIsTechnicallyCompleted eq ''"
    )
    known = {w["orderNo"] for w in plant.mes.get("work-orders", params={"limit": 5000}).json()["data"]}
    missing = [o for o in released if o["ManufacturingOrder"].lstrip("0") not in known]
    assert missing
    sent = [o["ManufacturingOrder"].lstrip("0") for o in missing[:10]]
    for order in missing[:10]:
        answer = plant.mes.post(
            "work-orders",
            json=work_order(
                orderNo=order["ManufacturingOrder"].lstrip("0"),
                partNo=order["Material"],
                quantity=float(order["TotalQuantity"]),
            ),
            headers={"idempotency-key": order["ManufacturingOrder"]},
        )
        assert answer.status_code == 201, answer.text
    plant.control("POST", "advance", {"days": 10})
    orders = {o["order"]: o for o in plant.control("GET", "truth")["production_orders"]}
    assert any(orders[o]["produced"] == orders[o]["ordered"] for o in sent)
    unsent = [o["ManufacturingOrder"].lstrip("0") for o in missing[10:]]
    assert all(orders[o]["produced"] == 0 for o in unsent)


# ---- faults, controls, persistence


def test_refusals_strike_as_often_as_asked_and_only_what_matches(plant: Plant) -> None:
    plant.fault("erp", "rate_limit", count=2, match="A_SalesOrder\\?", retry_after=3)
    plant.fault("mes", "unavailable", as_date=True, skip=1)
    plant.fault("mes", "unauthorized", match="scrap")
    assert plant.erp.get("API_PRODUCT_SRV/A_Product?$top=1").is_success
    answers = [plant.erp.get(f"{ORDERS}?$top=1") for _ in range(3)]
    assert [a.status_code for a in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "3"
    assert plant.mes.get("scrap-records").status_code == 401
    answers = [plant.mes.get("work-orders") for _ in range(3)]
    assert sorted(a.status_code for a in answers) == [200, 200, 503]
    refused = next(a for a in answers if a.status_code == 503)
    assert email.utils.parsedate_to_datetime(refused.headers["retry-after"])
    assert plant.control("GET", "faults") == []


def test_a_connection_is_dropped_and_a_body_is_cut(plant: Plant) -> None:
    plant.fault("erp", "drop_connection")
    plant.fault("mes", "truncate")
    with pytest.raises(httpx.TransportError):
        plant.erp.get(ORDERS)
    with pytest.raises(httpx.RemoteProtocolError, match=r"incomplete|closed"):
        plant.mes.get("work-orders")
    assert plant.erp.get(ORDERS).is_success
    assert plant.mes.get("work-orders").is_success


def test_an_error_comes_with_status_200(plant: Plant) -> None:
    plant.fault("erp", "error_in_200")
    answer = plant.erp.get(ORDERS)
    assert answer.status_code == 200
    assert set(answer.json()) == {"error"}
    assert plant.erp.get(ORDERS).json()["d"]["results"]


def test_a_lost_reply_leaves_the_write_done(plant: Plant) -> None:
    event, token = plant.unposted(), plant.token()
    plant.fault("erp", "lost_reply", match="^POST")
    with pytest.raises(httpx.TransportError):
        plant.erp.post(DOCUMENTS, json=plant.issue(event), headers=token)
    found, _ = plant.rows(f"{DOCUMENTS}?$filter=ReferenceDocument eq '{event['eventId']}'")
    assert len(found) == 1


def test_lost_delta_tokens_are_gone_for_one_entity_set_only(plant: Plant) -> None:
    links = {name: plant.rows(f"API_SALES_ORDER_SRV/{name}")[1] for name in ("A_SalesOrder", "A_SalesOrderItem")}
    plant.fault("erp", "lost_delta_token", match="A_SalesOrder\\?")
    assert plant.erp.get(links["A_SalesOrderItem"]).status_code == 200
    assert [plant.erp.get(links["A_SalesOrder"]).status_code for _ in range(2)] == [410, 410]
    assert plant.erp.get(plant.rows(ORDERS)[1]).status_code == 200, "a new full read gives a token that is known"


def test_an_endless_page_names_itself_as_the_next(plant: Plant) -> None:
    plant.fault("erp", "endless_page", match="A_Product\\b")
    plant.fault("mes", "endless_page")
    first = plant.erp.get("API_PRODUCT_SRV/A_Product").json()["d"]
    second = plant.erp.get(first["__next"]).json()["d"]
    assert second == plant.erp.get(second["__next"]).json()["d"]
    cursor = plant.mes.get("work-orders", params={"limit": 5}).json()["next_cursor"]
    again = plant.mes.get("work-orders", params={"limit": 5, "cursor": cursor}).json()
    assert again["next_cursor"] == cursor


def test_a_type_changes_and_a_field_appears(plant: Plant) -> None:
    plant.fault("erp", "changed_type", entity="A_SalesOrder", field="TotalNetAmount")
    plant.fault("erp", "extra_field", entity="A_SalesOrder")
    plant.fault("mes", "changed_type", entity="work-orders")
    row = plant.erp.get(f"{ORDERS}?$top=1").json()["d"]["results"][0]
    assert row["TotalNetAmount"].startswith("~")
    assert "ZZ_ADDED" in row
    metadata = plant.erp.get("API_SALES_ORDER_SRV/$metadata").text
    assert re.search(r'Name="TotalNetAmount" Type="Edm.String"', metadata)
    assert "ZZ_ADDED" not in metadata
    assert isinstance(plant.mes.get("work-orders").json()["data"][0]["quantity"], str)
    plant.control("DELETE", "faults")
    assert (
        "Edm.Decimal"
        in re.findall(r'Name="TotalNetAmount"[^>]*', plant.erp.get("API_SALES_ORDER_SRV/$metadata").text)[0]
    )


def test_the_python_client_controls_the_plant_and_says_what_is_wrong(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATONG_HOME", str(plant.home))
    assert settings.home() == plant.home
    before = controls.status()
    assert before["total_rows"] > 5000
    result = controls.advance(days=2, seed=5)
    assert result["day"] == before["day"] + 2
    assert result["new_rows"]["erp.A_SalesOrder"] > 0
    assert controls.truth()["as_of"] == result["as_of"]
    fault = controls.add_fault("erp", "slow", seconds=0)
    assert [f["id"] for f in controls.faults()] == [fault["id"]]
    assert controls.clear_faults(fault["id"]) == 1
    for call in (
        lambda: controls.advance(days=0),
        lambda: controls.add_fault("erp", "explode"),
        lambda: controls.add_fault("erp", "changed_type", entity="A_Nothing"),
        lambda: controls.add_fault("crm", "unavailable"),
        lambda: controls.add_fault("mes", "rate_limit", match="("),
    ):
        with pytest.raises(ConfigurationError):
            call()
    monkeypatch.setenv("DATONG_HOME", str(tmp_path))
    with pytest.raises(ServiceError, match="never started"):
        controls.status()


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    plant = Plant(tmp_path).start()
    try:
        link = plant.rows(DOCUMENTS)[1]
        event, known = plant.unposted(), dict(plant.known)
        made = plant.erp.post(DOCUMENTS, json=plant.issue(event), headers=plant.token()).json()["d"]
        order = plant.mes.post("work-orders", json=work_order(), headers={"idempotency-key": "k"}).json()
        plant.control("POST", "advance", {"days": 1})
        truth = plant.control("GET", "truth")
        plant.stop(kill=True)
        plant.start()
        assert plant.known == known, "same address, same secrets"
        assert plant.control("GET", "truth") == truth
        assert plant.mes.post("work-orders", json=work_order(), headers={"idempotency-key": "k"}).json() == order
        changes, _ = plant.rows(str(link))
        assert made["MaterialDocument"] in {c["MaterialDocument"] for c in changes}
    finally:
        plant.stop()
