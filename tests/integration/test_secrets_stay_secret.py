"""No secret is written anywhere: real ingests with secrets that can be recognised, then a search of all that was left.

An installation of its own reads a plant of its own. The plant's log-ins, and wrong ones that are refused, are the
canaries. They come from the environment, from a file and from a secrets folder outside the installation. Afterwards
everything the installation holds is searched: what commands printed, logs and state files, pages, every object of the
store (Parquet decoded), every table of every database (Dagster's events among them).

What the search can find is shown by a marker that does belong into the data.
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import psycopg
import pyarrow.parquet as pq
import pytest
from datong_infra.services import postgres, stack
from datong_infra.services.dagster import write_instance
from datong_platform.lake import storage
from datong_platform.settings import settings

MARKER = "marker-of-a-row-7d21c4"
WRONG = "wrong-canary-5e0b93"

pytestmark = pytest.mark.slow


def forms(secret: str, user: str = "") -> set[bytes]:
    """How a secret can be written: as it is, in a URL, in a Basic log-in, in base64 or hexadecimal."""
    plain = secret.encode()
    found = {plain, quote(secret, safe="").encode(), base64.b64encode(plain), plain.hex().encode()}
    if user:
        found.add(base64.b64encode(f"{user}:{secret}".encode()))
    return found


@dataclass
class Installation:
    """An installation, the plant that it reads, and what its commands printed."""

    home: Path
    plant: dict[str, str]
    printed: dict[str, bytes] = field(default_factory=dict)

    @property
    def crm_password(self) -> str:
        return urlsplit(self.plant["CRM_URL"]).password or ""

    def canaries(self) -> dict[str, set[bytes]]:
        return {
            "ERP_PASSWORD": forms(self.plant["ERP_PASSWORD"], self.plant["ERP_USER"]),
            "MES_TOKEN": forms(self.plant["MES_TOKEN"]),
            "CRM password": forms(self.crm_password, "sandbox_crm"),
            "a refused secret": forms(WRONG, self.plant["ERP_USER"]),
        }

    def run(self, *arguments: str, ok: bool = True, stdin: str = "", **environment: str) -> str:
        name = f"{len(self.printed)} datong {' '.join(arguments)}"
        done = subprocess.run(
            [sys.executable, "-m", "datong_infra.cli", *arguments],
            env={**os.environ, **environment},
            input=stdin.encode(),
            capture_output=True,
            timeout=240,
            check=False,
        )
        self.printed[name] = done.stdout + b"\n" + done.stderr
        assert (done.returncode == 0) is ok, self.printed[name].decode()
        return done.stdout.decode()


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    home = Path(tempfile.mkdtemp(prefix="datong-secret-"))
    outside = Path(tempfile.mkdtemp(prefix="datong-outside-"))
    before = {name: value for name, value in os.environ.items() if name.startswith("DATONG_")}
    process: subprocess.Popen[bytes] | None = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATONG_HOME", str(home))
        try:
            stack.up(["store", "postgres"])
            write_instance()
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "datong_infra.sandbox", "serve", "--scale", "0.05", "--seed", "9"),
                    *("--postgres", settings().need("postgres_url"), "--crm-database", "crm_canary"),
                ],
                env={**os.environ, "DATONG_HOME": str(outside)},
            )
            made = Installation(home, _addresses(process, outside))
            crm_owner = urlsplit(settings().need("postgres_url"))._replace(path="/crm_canary").geturl()
            with psycopg.connect(crm_owner, autocommit=True) as crm:
                crm.execute("update account set name = %s where id = (select min(id) from account)", [MARKER])
            # one secret from each place: a file, the secrets folder, the environment
            (outside / "erp-password").write_text(made.plant["ERP_PASSWORD"] + "\n", encoding="utf-8")
            patch.setenv("ERP_PASSWORD_FILE", str(outside / "erp-password"))
            (outside / "secrets").mkdir()
            (outside / "secrets" / "MES_TOKEN").write_text(made.plant["MES_TOKEN"], encoding="utf-8")
            patch.setenv("DATONG_SECRETS_FOLDER", str(outside / "secrets"))
            for name in ("ERP_URL", "ERP_USER", "MES_URL", "CRM_URL"):
                patch.setenv(name, made.plant[name])
            yield made
        finally:
            patch.setenv("DATONG_HOME", str(home))
            if process is not None:
                process.terminate()
                process.wait(30)
            stack.down()
            shutil.rmtree(home, ignore_errors=True)
            shutil.rmtree(outside, ignore_errors=True)
    assert {name: value for name, value in os.environ.items() if name.startswith("DATONG_")} == before


def _addresses(process: subprocess.Popen[bytes], folder: Path) -> dict[str, str]:
    deadline = time.monotonic() + 120
    while True:
        try:
            known = json.loads((folder / "connections.json").read_text(encoding="utf-8"))
            if "CRM_URL" in known and httpx.get(f"{known['SANDBOX_URL']}/health").is_success:
                return known
        except (OSError, ValueError, KeyError, httpx.TransportError):
            pass
        assert process.poll() is None, "the plant ended by itself"
        assert time.monotonic() < deadline, "the plant did not come up"
        time.sleep(0.1)


def everything(made: Installation) -> Iterator[tuple[str, bytes]]:
    """All that the installation holds, piece by piece, with the place of each."""
    yield from made.printed.items()
    for path in sorted(made.home.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield f"file {path.relative_to(made.home)}", path.read_bytes()
    pages = storage.client().get_paginator("list_objects_v2").paginate(Bucket=settings().bucket)
    for key in [item["Key"] for page in pages for item in page.get("Contents", [])]:
        body = storage.get(key) or b""
        yield f"object {key}", body
        if key.endswith(".parquet"):
            rows = pq.read_table(io.BytesIO(body)).to_pylist()
            yield f"rows of {key}", json.dumps(rows, default=str, ensure_ascii=False).encode()
    yield from databases()


def databases() -> Iterator[tuple[str, bytes]]:
    """Every table of every database, the roles' passwords included, as text."""
    home = postgres._superuser_url()
    with psycopg.connect(home) as connection:
        names = [row[0] for row in connection.execute("select datname from pg_database where not datistemplate")]
    for database in names:
        address = urlsplit(home)._replace(path=f"/{database}").geturl()
        with psycopg.connect(address) as connection:
            tables = connection.execute(
                "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname <> 'information_schema' "
                "and schemaname not in ('pg_catalog', 'pg_toast') union all select 'pg_catalog.pg_authid'"
            ).fetchall()
            for (table,) in tables:
                rows = connection.execute(f"select t::text from {table} t".encode()).fetchall()
                yield f"table {database}.{table}", "\n".join(row[0] for row in rows).encode()


def test_no_secret_is_left_in_anything_that_is_written(installation: Installation, tmp_path: Path) -> None:
    made = installation
    for system in ("erp", "mes", "crm"):
        made.run("ingest", system)
    # log-ins that are refused, and faults whose errors quote the request
    made.run("ingest", "erp", "sales_order", ok=False, ERP_PASSWORD=WRONG)
    made.run("ingest", "mes", "work_order", ok=False, MES_TOKEN=WRONG)
    crm = made.plant["CRM_URL"].replace(made.crm_password, WRONG)
    made.run("ingest", "crm", "account", ok=False, CRM_URL=crm)
    for kind in ("error_in_200", "unauthorized"):
        fault = {"target": "erp", "kind": kind, "count": None, "match": "MatlStk"}
        httpx.post(f"{made.plant['SANDBOX_URL']}/_sandbox/faults", json=fault, timeout=30).raise_for_status()
        made.run("ingest", "erp", "material_stock", "--format", "json", ok=False)
        httpx.delete(f"{made.plant['SANDBOX_URL']}/_sandbox/faults", timeout=30).raise_for_status()
    made.run("preview", "crm", "account", "--rows", "1000", "--format", "json")
    made.run("profile", "crm", "account")
    made.run("profile", "erp", "product", ok=False, ERP_PASSWORD=WRONG)
    made.run("inventory", "--live", "--page", str(made.home / "inventory.html"))
    assert "secrets folder" in made.run("secrets", "list")
    # a secret given in plain goes to the secrets folder, and the definition names it
    made.run(
        *("new", "source", "shopfloor", "--yes", "--protocol", "rest", "--entity", "/work-orders"),
        *("-c", f"base_url={made.plant['MES_URL']}", "-c", "auth=bearer", "-c", "data_path=data"),
        *("-c", f"token={made.plant['MES_TOKEN']}", "--folder", str(made.home / "defs")),
    )
    made.run("secrets", "set", "SPARE_TOKEN", stdin=WRONG)

    pieces, bytes_read, marked = 0, 0, set[str]()
    canaries, found = made.canaries(), list[str]()
    dagster_told = False
    for place, content in everything(made):
        pieces, bytes_read = pieces + 1, bytes_read + len(content)
        for name, ways in canaries.items():
            if any(way in content for way in ways):
                found.append(f"{name} in {place}")
        if MARKER.encode() in content:
            marked.add(place.split(" ")[0])
        dagster_told = dagster_told or (place.startswith("table") and b"ASSET_MATERIALIZATION" in content)
    assert found == []
    # the search sees what is there: the marker in printed rows, landing and bronze, the source, the files beneath them
    assert {"rows", "table"} <= marked
    assert any(place.split(" ")[0].isdigit() for place in marked), marked
    assert dagster_told, "Dagster's events were not among what was searched"
    assert pieces > 150
    assert bytes_read > 1_000_000


def test_the_search_finds_a_secret_in_any_form(installation: Installation) -> None:
    ways = installation.canaries()["ERP_PASSWORD"]
    user, secret = installation.plant["ERP_USER"], installation.plant["ERP_PASSWORD"]
    for told in (
        f"password={secret}",
        f"http://{user}:{quote(secret, safe='')}@host/",
        f"Authorization: Basic {base64.b64encode(f'{user}:{secret}'.encode()).decode()}",
    ):
        assert any(way in told.encode() for way in ways), told
