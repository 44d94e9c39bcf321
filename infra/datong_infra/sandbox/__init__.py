"""The sandbox plant: a simulated pump and valve manufacturer behind faithful servers (SAP-like ERP, MES, CRM).

Start it (the service manager of `datong up` does the same, as the service `sandbox`):

    python -m datong_infra.sandbox serve --state DIR --scale 1 --seed 42 --port 0 --postgres ADMIN_URL

- `--state` keeps the plant (SQLite); a second start with the same folder goes on where the first one stopped, whatever
  killed it. `--scale` and `--seed` count only when the folder is new. `--port 0` takes the last port again if it is
  free, else a free one. `--postgres` is a PostgreSQL URL that may create databases and roles: the CRM gets a database
  of its own there (`--crm-database`, default `sandbox_crm`); without it there is no CRM.
- Ready when `GET /health` answers 200. On start it writes ERP_URL, ERP_USER, ERP_PASSWORD, MES_URL, MES_TOKEN and
  CRM_URL to `connections.json` (settings.write_state), and its own address as SANDBOX_URL.
- SIGTERM stops it cleanly; kill -9 loses nothing that was acknowledged.

Talk to it from Python with `datong_infra.sandbox.client`: status(), advance(days, seed), truth(), faults().

| module | what |
| --- | --- |
| `model` | every entity set and collection: fields, types, keys |
| `store` | the plant's state: SQLite, one writer, a change sequence, the plant's clock |
| `vocabulary`, `master_data` | names, credit codes, telephone numbers; customers, materials, bills of material |
| `simulation`, `shop_floor`, `crm_life` | the days of the plant |
| `posting` | goods movements: documents, book stock, withdrawn and delivered quantities |
| `truth` | what a perfect platform would know |
| `odata_*` | the ERP: queries, metadata, reads, writes, batches |
| `mes_server`, `crm`, `faults`, `server` | the MES, the CRM's database, faults on request, the process |

The story. The history is 90 days from 2026-08-03; `as_of` is the evening of the last one. Until the go-live, 7 days
before the end, a nightly interface created work orders in the MES for released production orders and posted each MES
consumption event as one goods issue (movement 261) whose ReferenceDocument is the event's id. Since then nobody did:
released orders are not in the MES, recent consumption is not in the ERP. The plant produces only what the MES knows.

Rows that are wrong on purpose are listed by truth()["dirty_rows"]: a sales order item in the unit XX, customers with a
broken credit code, components with a negative required quantity, a consumption in an unknown unit, a consumption for
an order nobody knows, a confirmation with a negative quantity. None of them has a physical effect.
"""
