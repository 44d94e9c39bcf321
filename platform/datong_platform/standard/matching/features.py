"""What of a record is compared, and by which keys it finds the records that it may be the same as."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import Any

import pyarrow as pa

from datong_platform.standard.matching import text

RECORD = pa.schema(
    [
        ("unique_id", pa.string()),
        ("source_system", pa.string()),
        ("source_key", pa.string()),
        ("digest", pa.string()),
        ("title", pa.string()),
        ("block_hashes", pa.list_(pa.int64())),
    ]
)
"""What every entity has: the record's id here (system/key), a digest of its fields, its name, its blocking keys.

Keys are kept as numbers: of a million records there are ten million, and each run looks them all through.
"""

PARTY = pa.schema(
    [
        *RECORD,
        ("credit_code", pa.string()),
        ("erp_number", pa.string()),
        ("core", pa.string()),
        ("brand", pa.string()),
        ("region", pa.string()),
        ("branch", pa.string()),
        ("pinyin", pa.string()),
        ("bag", pa.string()),
        ("grams", pa.list_(pa.string())),
        ("phone", pa.string()),
        ("email", pa.string()),
        ("city", pa.string()),
        ("street", pa.string()),
    ]
)
MATERIAL = pa.schema(
    [
        *RECORD,
        ("gtin", pa.string()),
        ("maker_number", pa.string()),
        ("words", pa.string()),
        ("specs", pa.list_(pa.string())),
        ("spec_text", pa.string()),
        ("pinyin", pa.string()),
        ("bag", pa.string()),
        ("grams", pa.list_(pa.string())),
        ("base_unit", pa.string()),
        ("material_type", pa.string()),
        ("weight", pa.string()),
    ]
)
_PUBLIC_MAIL = {"QQ.COM", "163.COM", "126.COM", "GMAIL.COM", "SINA.COM", "HOTMAIL.COM", "OUTLOOK.COM", "FOXMAIL.COM"}
_LEAST_PHONE = 7


def unique_id(system: str, key: str) -> str:
    """A record's id among all systems: system/key. A system's name holds no slash."""
    return f"{system}/{key}"


def of(kind: str, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """The features of records: rows with unique_id, source_system, source_key, digest and the fields of their kind."""
    make = _FEATURES[kind]
    return pa.Table.from_pylist([make(row) | _record(row) for row in rows], schema=SCHEMAS[kind])


def _record(row: Mapping[str, Any]) -> dict[str, Any]:
    names = (row.get(name) for name in ("party_name", "material_name_zh", "material_name"))
    return {
        **{name: str(row[name]) for name in ("unique_id", "source_system", "source_key", "digest")},
        "title": next((str(name) for name in names if name), ""),
    }


def _party(row: Mapping[str, Any]) -> dict[str, Any]:
    name = text.company(row.get("party_name"))
    code = row.get("credit_code") or None
    phone = text.digits(row.get("phone"))
    phone = phone[-8:] if len(phone) >= _LEAST_PHONE else ""
    mail = str(row.get("email") or "").strip().upper()
    domain = mail.rpartition("@")[2]
    email = mail if domain in _PUBLIC_MAIL else domain
    city, street = text.place(row.get("city")) or name.region, text.street(row.get("street"))
    spoken = text.pinyin(name.brand)
    number = row.get("erp_number")
    keys = {
        f"code {code}" if code else "",
        f"number {number}" if number else "",
        f"name {name.brand}" if name.brand else "",
        f"bag {text.bag(name.brand)}" if name.brand else "",
        f"sound {spoken}" if spoken else "",
        f"phone {phone}" if phone else "",
        f"address {city} {street}" if city and len(street) > 3 else "",
        f"head {name.brand[:3]} {city}" if len(name.brand) > 3 and city else "",
        f"tail {name.brand[-3:]} {city}" if len(name.brand) > 3 and city else "",
        f"spoken {spoken[:10]}" if len(spoken) > 10 else "",
        f"mail {email}" if email else "",
    }
    return {
        "block_hashes": _hashes(keys),
        "credit_code": code,
        "erp_number": str(number) if number else None,
        "core": name.core or None,
        "brand": name.brand or None,
        "region": name.region or None,
        "branch": name.branch,
        "pinyin": spoken or None,
        "bag": text.bag(name.brand) or None,
        "grams": _grams(name.brand),
        "phone": phone or None,
        "email": email or None,
        "city": city or None,
        "street": street or None,
    }


def _material(row: Mapping[str, Any]) -> dict[str, Any]:
    name = text.article(row.get("material_name_zh"), row.get("material_name"))
    gtin = text.digits(row.get("gtin")).zfill(14) if row.get("gtin") else None
    maker = text.plain(row.get("maker_number")).replace(" ", "") or None
    spec = " ".join(name.specs)
    spoken = text.pinyin(name.words)
    keys = {
        f"gtin {gtin}" if gtin else "",
        f"maker {maker}" if maker else "",
        f"name {name.words} {spec}" if name.words else "",
        f"bag {text.bag(name.words)} {spec}" if name.words else "",
        f"sound {spoken} {spec}" if spoken else "",
        f"head {name.words[:2]} {spec}" if len(name.words) > 2 and spec else "",
        f"tail {name.words[-2:]} {spec}" if len(name.words) > 2 and spec else "",
        f"words {name.words}" if len(name.words) > 3 else "",
    }
    weight = row.get("net_weight")
    return {
        "block_hashes": _hashes(keys),
        "gtin": gtin,
        "maker_number": maker,
        "words": name.words or None,
        "specs": list(name.specs),
        "spec_text": spec,
        "pinyin": spoken or None,
        "bag": text.bag(name.words) or None,
        "grams": _grams(name.words),
        "base_unit": row.get("base_unit"),
        "material_type": row.get("material_type"),
        "weight": f"{float(weight):.3f} {row.get('weight_unit')}" if weight else None,
    }


def _hashes(keys: Iterable[str]) -> list[int]:
    """Keys as 64-bit numbers; two that meet by chance cost one comparison."""
    return sorted(
        int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big", signed=True) for key in keys if key
    )


def _grams(value: str) -> list[str]:
    """The pairs of neighbouring characters and the single ones: of short Chinese names most of the likeness."""
    return sorted({*value, *(value[place : place + 2] for place in range(len(value) - 1))})


SCHEMAS = {"party": PARTY, "material": MATERIAL}
FIELDS = {
    "party": ("party_name", "credit_code", "erp_number", "city", "street", "phone", "email"),
    "material": (
        *("material_name", "material_name_zh", "gtin", "maker_number"),
        *("base_unit", "material_type", "net_weight", "weight_unit"),
    ),
}
"""The fields that a model of materialization `matched` offers, beside source_system and source_key."""
_FEATURES: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {"party": _party, "material": _material}
