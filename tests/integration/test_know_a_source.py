"""Getting to know a source from the command line, on the sandbox plant: ERP over OData, MES over REST, CRM in SQL."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import Result
from datong_assets import profiles
from datong_assets.inventory import inventory
from datong_assets.inventory_page import mermaid, page_of
from datong_infra.cli.app import app
from datong_ingestion.discovery.profile import profile
from datong_ingestion.run import ingest_system
from datong_ingestion.systems_config import load_system, load_systems
from datong_platform.errors import ConfigurationError, DatongError
from datong_platform.lake import history
from datong_platform.names import bronze
from typer.testing import CliRunner

pytestmark = pytest.mark.usefixtures("sandbox")

ERP = ["-c", "base_url=${ERP_URL}", "-c", "user=${ERP_USER}", "-c", "password=${ERP_PASSWORD}"]
MES = ["-c", "base_url=${MES_URL}", "-c", "auth=bearer", "-c", "token=${MES_TOKEN}"]
PAGES = ["-c", "data_path=data", "-c", "paging.style=next_cursor"]


def datong(*arguments: str, answers: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=answers)


def told(*arguments: str) -> Any:
    done = datong(*arguments, "--format", "json")
    assert done.exit_code == 0, (done.stderr, done.exception)
    return json.loads(done.stdout)


def failure(done: Result) -> DatongError:
    assert isinstance(done.exception, DatongError), (done.output, done.exception)
    return done.exception


@pytest.fixture
def landed_nothing() -> Iterator[None]:
    """What only looks must not load: no table of these systems is made or changed."""

    def versions() -> dict[str, int | None]:
        tables = [(system, entity.name) for system, config in load_systems().items() for entity in config.entities]
        found = {f"{name[0]}.{name[1]}": history.open_table(bronze(*name)) for name in tables}
        return {name: delta.version() if delta else None for name, delta in found.items()}

    before = versions()
    yield
    assert versions() == before


@pytest.mark.usefixtures("landed_nothing")
@pytest.mark.parametrize(
    ("system", "entity", "key", "kind"),
    [
        ("erp", "sales_order", "SalesOrder", ("TotalNetAmount", "decimal(16,3)")),
        ("mes", "work_order", "workOrderNo", ("quantity", "decimal(15,3)")),
        ("crm", "account", "id", ("updated_at", "timestamp")),
    ],
)
def test_a_preview_shows_rows_and_types_and_loads_nothing(
    system: str, entity: str, key: str, kind: tuple[str, str]
) -> None:
    found = told("preview", system, entity, "--rows", "3")
    assert found["keys"] == [key]
    assert kind in {(field["field"], field["type"]) for field in found["fields"]}
    assert len(found["rows"]) == 3
    assert len({row[key] for row in found["rows"]}) == 3
    assert not found["complete"]
    printed = datong("preview", system, entity, "--rows", "3")
    assert "Nothing was loaded" in printed.stdout
    assert str(found["rows"][0][key]) in printed.stdout


def test_a_preview_of_what_is_not_there_names_what_is() -> None:
    error = failure(datong("preview", "erp", "nothing"))
    assert "sales_order" in error.next_step


@pytest.mark.usefixtures("landed_nothing")
def test_a_profile_agrees_with_the_rows_and_goes_to_terminal_page_and_dagster(tmp_path: Path) -> None:
    page = tmp_path / "profile.html"
    found = told("profile", "mes", "operation_confirmation", "--page", str(page), "--no-record")
    rows = told("preview", "mes", "operation_confirmation", "--rows", "1000")["rows"]
    assert found["rows"] == len(rows) > 500
    fields = {field["name"]: field for field in found["fields"]}
    for name in ("operator", "workCenter", "orderNo"):
        assert fields[name]["distinct"] == len({row[name] for row in rows}), name
    assert fields["orderNo"]["minimum"] == min(row["orderNo"] for row in rows)
    repeats = len(rows) - len({row["eventId"] for row in rows})
    assert repeats > 0, "the plant sends scans twice"
    key = next(key for key in found["keys"] if key["declared"])
    assert (key["fields"], key["unique"], key["repeated"]) == (["eventId"], False, repeats)
    assert f"{repeats} repeated" in page.read_text(encoding="utf-8")
    assert "recordedAt" in datong("profile", "mes", "operation_confirmation", "--no-record").stdout


def test_a_profile_is_metadata_of_the_bronze_asset(tmp_path: Path) -> None:
    taken = profile(load_system("crm"), "contact")
    with dg.instance_for_test() as instance:
        asset = profiles.record(taken, str(tmp_path / "contact.html"), instance=instance)
        assert asset == "bronze/crm__contact"
        (record,) = instance.fetch_observations(dg.AssetKey(["bronze", "crm__contact"]), limit=5).records
    assert record.asset_observation is not None
    metadata = record.asset_observation.metadata
    assert metadata["profiled_rows"].value == taken.rows > 50
    assert "id: unique (declared)" in str(metadata["candidate_keys"].value)
    table = str(metadata["profile"].value)
    assert all(f"| {item.name} |" in table for item in taken.fields)
    names = {row["full_name"] for row in told("preview", "crm", "contact", "--rows", "1000")["rows"]}
    assert not [name for name in names if name in str(metadata)], "names of people are not metadata"


def test_a_limit_ends_a_profile_early() -> None:
    found = told("profile", "erp", "product", "--limit", "7", "--no-record")
    assert (found["rows"], found["complete"]) == (7, False)


def new(folder: Path, *arguments: str) -> dict[str, Any]:
    return told("new", "source", *arguments, "--yes", "--folder", str(folder))


def entity(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(row for row in found["entities"] if row["entity"] == name)


def test_a_database_is_proposed_from_its_catalog(tmp_path: Path) -> None:
    found = new(tmp_path, "leads", "--protocol", "sql", "-c", "url=${CRM_URL}", "-e", "public.*")
    made = load_systems(tmp_path)["leads"]
    assert {one.name for one in made.entities} == {"account", "contact", "opportunity"}
    account = made.entity("account")
    assert (account.keys, account.mode, account.cursor) == (["id"], "cursor", "updated_at")
    assert account.detect_deletes
    assert account.soft_delete is not None
    assert account.soft_delete.column == "is_deleted"
    assert made.entity("contact").soft_delete is None
    assert found["secrets"] == []


def test_an_odata_service_is_proposed_with_its_delta_tokens(tmp_path: Path) -> None:
    found = new(
        tmp_path,
        *("sap", "--protocol", "odata_v2", *ERP),
        *("-e", "API_SALES_ORDER_SRV/*", "-e", "customer=API_BUSINESS_PARTNER/A_Customer"),
    )
    made = load_systems(tmp_path)["sap"]
    order, item, customer = (made.entity(name) for name in ("sales_order", "sales_order_item", "customer"))
    assert (order.keys, order.mode) == (["SalesOrder"], "delta_token")
    assert item.keys == ["SalesOrder", "SalesOrderItem"]
    assert customer.mode == "full", "it hands out no token and has no field of changes"
    assert "delta token" in " ".join(entity(found, "sales_order")["remarks"])
    assert not order.fields, "a source that declares its types needs none declared"


def test_a_json_api_is_proposed_from_its_rows(tmp_path: Path) -> None:
    found = new(
        tmp_path,
        *("floor", "--protocol", "rest", *MES, *PAGES),
        *("-e", "work_order=/work-orders", "-e", "/operation-confirmations"),
    )
    made = load_systems(tmp_path)["floor"]
    order, scan = made.entity("work_order"), made.entity("operation_confirmations")
    assert (order.keys, order.mode, order.cursor) == (["workOrderNo"], "cursor", "updatedAt")
    assert order.fields["updatedAt"] == "timestamp"
    assert order.fields["version"] == "long"
    assert order.fields["orderNo"] == "string", "digits are a code until somebody says otherwise"
    assert (scan.keys, scan.events, scan.cursor) == (["eventId"], True, "recordedAt")
    remarks = " ".join(entity(found, "operation_confirmations")["remarks"])
    assert "can be sent twice" in remarks
    assert "leaves out what is older" in remarks


def test_where_a_json_api_has_its_rows_and_pages_is_found(tmp_path: Path) -> None:
    new(tmp_path, "floor", "--protocol", "rest", *MES, "-e", "/operation-confirmations")
    connection = load_systems(tmp_path)["floor"].connection.model_dump()
    assert connection["data_path"] == "data"
    assert connection["paging"]["style"] == "next_cursor"
    rows = profile(load_systems(tmp_path)["floor"], "operation_confirmations").rows
    assert rows == profile(load_system("mes"), "operation_confirmation").rows > 500


def test_what_was_proposed_is_read_as_it_stands(tmp_path: Path) -> None:
    new(tmp_path, "proposed_leads", "--protocol", "sql", "-c", "url=${CRM_URL}", "-e", "public.*")
    new(tmp_path, "proposed_floor", "--protocol", "rest", *MES, *PAGES, "-e", "/work-orders", "-e", "/scrap-records")
    new(tmp_path, "proposed_sap", "--protocol", "odata_v2", *ERP, "-e", "API_PRODUCT_SRV/*")
    for system in load_systems(tmp_path).values():
        for round_ in (1, 2):
            outcomes = ingest_system(system)
            assert [str(one.result) for one in outcomes if not one.ok] == []
            results = [one.result for one in outcomes if not isinstance(one.result, DatongError)]
            assert sum(result.rescued for result in results) == 0
            assert all(bool(result.batches) is (round_ == 1) for result in results), system.system
            assert all(result.total_rows for result in results)


@pytest.fixture
def deaf() -> Iterator[str]:
    """A JSON API that answers with all its rows, whatever it is asked."""
    rows = [{"id": f"N{number}", "updatedAt": f"2026-03-01T08:{number:02}:00Z"} for number in range(60)]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(rows).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_cursor_that_the_system_ignores_is_not_proposed(tmp_path: Path, deaf: str) -> None:
    found = new(tmp_path, "deaf", "--protocol", "rest", "-c", f"base_url={deaf}", "-e", "/notes")
    assert entity(found, "notes")["mode"] == "full"
    assert "the system sent older rows as well" in " ".join(entity(found, "notes")["remarks"])


def test_a_cursor_that_the_system_refuses_is_not_proposed(tmp_path: Path) -> None:
    found = new(
        tmp_path,
        *("deaf", "--protocol", "rest", *MES, *PAGES, "-c", "updated_since_param=no_such_parameter"),
        *("-e", "/work-orders"),
    )
    assert entity(found, "work_orders")["mode"] == "full"
    assert "the system refused it" in " ".join(entity(found, "work_orders")["remarks"])


def test_what_somebody_decides_is_not_proposed_otherwise(tmp_path: Path) -> None:
    new(
        tmp_path,
        *("mine", "--protocol", "odata_v2", *ERP, "-e", "order=API_SALES_ORDER_SRV/A_SalesOrder"),
        *("--mode", "order=cursor", "--cursor", "order=LastChangeDateTime", "--key", "order=SalesOrder"),
        *("--title", "Our ERP", "--title-zh", "我们的 ERP", "--owner", "team:sales"),
    )
    made = load_systems(tmp_path)["mine"]
    assert (made.title, made.title_zh, made.owner) == ("Our ERP", "我们的 ERP", "team:sales")
    assert (made.entity("order").mode, made.entity("order").cursor) == ("cursor", "LastChangeDateTime")
    with pytest.raises(AssertionError, match="is not among the entities"):
        new(tmp_path, "slip", "--protocol", "sql", "-c", "url=${CRM_URL}", "-e", "account", "--mode", "acount=full")


def test_a_secret_in_plain_is_kept_apart_from_the_definition(
    tmp_path: Path, sandbox: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATONG_SECRETS_FOLDER", str(tmp_path / "secrets"))
    found = new(
        tmp_path / "defs",
        *("floor", "--protocol", "rest", "-c", "base_url=${MES_URL}", "-c", "auth=bearer", *PAGES),
        *("-c", f"token={sandbox['MES_TOKEN']}", "-e", "/work-orders"),
    )
    assert found["secrets"] == ["FLOOR_TOKEN"]
    assert sandbox["MES_TOKEN"] not in found["definition"]
    assert 'token: "${FLOOR_TOKEN}"' in found["definition"]
    assert (tmp_path / "secrets" / "FLOOR_TOKEN").read_text(encoding="utf-8") == sandbox["MES_TOKEN"]


def test_questions_lead_to_the_same_definition(tmp_path: Path) -> None:
    # name, protocol, url, schema, title, entities, which of them, write it
    answers = "asked\nsql\n${CRM_URL}\n\nLeads\npublic.*\n1,3\ny\n"
    done = datong("new", "source", "--folder", str(tmp_path), answers=answers)
    assert done.exit_code == 0, (done.output, done.exception)
    made = load_systems(tmp_path)["asked"]
    assert (made.title, [one.name for one in made.entities]) == ("Leads", ["account", "opportunity"])
    assert "datong preview asked account" in done.stdout


def test_a_known_system_asks_for_what_its_profile_needs(deaf: str) -> None:
    # name, protocol, profile, then base_url, user, password, variables.database, title, entities
    answers = f"k3\nrest\nkingdee_k3cloud\n{deaf}\nreader\n${{ERP_PASSWORD}}\n001\n\nBD_MATERIAL\n"
    done = datong("new", "source", "--no-probe", "--dry-run", answers=answers)
    for asked in ("base_url", "user", "password", "variables.database"):
        assert f"{asked}" in done.stderr, done.stderr
    assert "auth (" not in done.stderr, "the profile says how to log in"
    error = failure(done)
    assert "BD_MATERIAL" in str(error), "its form was asked for, and this server is no K3Cloud"


def test_a_no_at_the_end_writes_nothing(tmp_path: Path) -> None:
    done = datong("new", "source", "--folder", str(tmp_path), answers="asked\nsql\n${CRM_URL}\n\n\npublic.*\n\nn\n")
    assert done.exit_code == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--protocol", "sql", "-c", "url=${CRM_URL}"], "needs --entity"),
        (["--protocol", "sql", "-e", "account"], "needs --connection url"),
        (["-e", "account"], "needs --protocol"),
        (["--protocol", "carrier_pigeon", "-e", "x"], "is not known"),
        (["--protocol", "sql", "-c", "url=${CRM_URL}", "-e", "nowhere.*"], "offers nothing that matches nowhere"),
        (["--protocol", "sql", "-c", "url=${NOWHERE_URL}", "-e", "account"], "needs the value NOWHERE_URL"),
        (["--protocol", "xml", "-c", "location=x", "-e", "*.xml"], "option rows: Field required"),
        (["--protocol", "rest", "-c", "base_url=x", "-c", "auth=bearer", "-e", "/x"], "auth bearer needs token"),
    ],
)
def test_an_answer_that_is_missing_or_wrong_is_named(tmp_path: Path, arguments: list[str], reason: str) -> None:
    error = failure(datong("new", "source", "wrong", "--yes", "--folder", str(tmp_path), *arguments))
    assert reason in str(error)
    assert error.next_step
    assert list(tmp_path.iterdir()) == []


def test_files_are_proposed_by_their_pattern(tmp_path: Path) -> None:
    lines = "".join(f"<o><no>{number}</no><at>2026-03-0{number}T08:00:00Z</at></o>" for number in range(1, 8))
    (tmp_path / "orders.xml").write_text(f"<r>{lines}</r>", encoding="utf-8")
    new(
        tmp_path / "defs",
        *("drop", "--protocol", "xml", "-c", f"location={tmp_path}", "-c", "settle_seconds=0"),
        *("-e", "order=*.xml", "--option", "rows=/r/o", "--key", "order=no"),
    )
    made = load_systems(tmp_path / "defs")["drop"].entity("order")
    assert (made.source, made.keys) == ("*.xml", ["no"])
    assert made.fields["at"] == "timestamp"


def test_what_cannot_be_described_is_left_out_and_told(tmp_path: Path) -> None:
    done = datong(
        *("new", "source", "part", "--yes", "--folder", str(tmp_path), "--protocol", "sql"),
        *("-c", "url=${CRM_URL}", "-e", "account", "-e", "no_such_table"),
    )
    assert done.exit_code == 1, "not everything that was asked for is there"
    assert "no_such_table" in done.stderr
    assert [one.name for one in load_systems(tmp_path)["part"].entities] == ["account"]


def test_a_definition_is_not_overwritten(tmp_path: Path) -> None:
    arguments = ["twice", "--protocol", "sql", "-c", "url=${CRM_URL}", "-e", "account"]
    new(tmp_path, *arguments)
    error = failure(datong("new", "source", *arguments, "--yes", "--folder", str(tmp_path)))
    assert isinstance(error, ConfigurationError)
    assert "--force" in error.next_step
    new(tmp_path, *arguments, "--force")


def test_the_inventory_holds_what_is_defined_and_how_it_flows() -> None:
    found = inventory()
    systems = load_systems()
    assert {entry.system for entry in found.systems} == set(systems)
    reads = {(entry.system, entry.name) for entry in found.interfaces if entry.direction == "read"}
    assert reads == {(name, one.name) for name, config in systems.items() for one in config.entities}
    flows = {flow.flow: flow for flow in found.flows}
    order = flows["production_order_to_mes"]
    assert (order.kind, order.target, order.resource, order.write) == ("write-back", "mes", "/work-orders", "create")
    assert "production_order" in order.origins["erp"]
    assert flows["consumption_to_erp"].origins["mes"] == ["material_consumption"]
    assert "account" in flows["bi__order_fulfilment"].origins["crm"]
    fields = {(item.system, item.entity, item.field): item for item in found.fields}
    assert fields["mes", "work_order", "quantity"].type == "decimal(15,3)"
    assert fields["erp", "sales_order", "SalesOrder"].role == "key"
    written = fields["erp", "consumption_to_erp (write)", "to_MaterialDocumentItem[].Material"]
    assert written.role == "from material"
    assert all(entry.fields for entry in found.interfaces), "every interface has its fields"
    assert found.notes == []


def test_a_live_inventory_asks_the_systems(sandbox: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MES_TOKEN", "wrong")
    monkeypatch.setenv("CRM_URL", "postgresql://nobody:nothing@127.0.0.1:9/none")
    found = inventory(live=True)
    by_system = {item.system: item.told_by for item in found.fields if "(write)" not in item.entity}
    assert by_system["erp"] == "system"
    assert by_system["crm"] == "standard", "what does not answer keeps what definitions tell"
    assert any("crm" in note for note in found.notes)
    assert not any("nothing" in note for note in found.notes), "no password in a note"


def test_the_diagram_and_the_page_are_made_of_the_same_inventory(tmp_path: Path) -> None:
    found = inventory()
    diagram = mermaid(found)
    assert diagram.startswith("flowchart LR\n")
    for line in ("in_erp -->|", "lake ==>|", "| out_mes", '(["BI and people"])'):
        assert line in diagram, line
    page = page_of(found)
    assert page.count("<details>") == len({(item.system, item.entity) for item in found.fields}) + 1
    assert "src=" not in page
    assert not re.search('href="(?!data:image/)', page), "but for its icon, the page stands alone"
    path = tmp_path / "inventory.html"
    rows = told("inventory", "flows", "-s", "mes", "--page", str(path))
    assert {row["target"] for row in rows} >= {"mes", "erp"}
    assert path.stat().st_size > 20_000
    assert datong("inventory", "diagram").stdout == diagram
    path = tmp_path / "inventory.md"
    told("inventory", "flows", "--page", str(path))
    text = path.read_text(encoding="utf-8")
    assert f"```mermaid\n{diagram}```" in text
    rows_of = [line for line in text.splitlines() if line.startswith("|") and " --- |" not in line]
    assert len(rows_of) == 4 + len(found.systems) + len(found.flows) + len(found.interfaces) + len(found.fields)


def test_secrets_are_listed_by_place_and_never_shown(
    sandbox: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {row["name"]: row for row in told("secrets", "list")}
    assert rows["ERP_PASSWORD"]["from"] == "sandbox"
    monkeypatch.setenv("DATONG_SECRETS_FOLDER", str(tmp_path))
    done = CliRunner().invoke(app, ["secrets", "set", "ERP_PASSWORD"], input="changed\n")
    assert done.exit_code == 0, done.output
    listed = datong("secrets", "list", "--format", "json")
    assert {row["name"]: row for row in json.loads(listed.stdout)}["ERP_PASSWORD"]["from"] == "secrets folder"
    assert "changed" not in listed.output
    assert sandbox["MES_TOKEN"] not in listed.output
    assert datong("secrets", "set", "not-a-name").exit_code == 2
