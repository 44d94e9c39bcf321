"""What came from a source and could not be read, in the form in which it is landed and kept in quarantine."""

from __future__ import annotations

import hashlib

import pyarrow as pa

REFUSED = pa.schema([("raw", pa.binary()), ("place", pa.string()), ("field", pa.string()), ("reason", pa.string())])
"""A row, message or segment that could not be read: its bytes as sent, where it stood (file and line, partition and
offset, segment), the field if one is to blame, and the reason."""
DIGEST = "_datong_digest"
LANDED = pa.schema([*REFUSED, (DIGEST, pa.string())])
RAW_BYTES = 8 * 1024 * 1024
"""More of one refused row is not kept: its reason then says how much there was."""


def prepared(refused: pa.Table) -> pa.Table:
    """Refused rows as they are landed: their bytes cut to RAW_BYTES, and a digest that knows one that comes again."""
    refused = refused.select(REFUSED.names).cast(REFUSED)
    raws, reasons = refused.column("raw").to_pylist(), refused.column("reason").to_pylist()
    places, fields = refused.column("place").to_pylist(), refused.column("field").to_pylist()
    digests: list[str] = []
    for row, (raw, place, field) in enumerate(zip(raws, places, fields, strict=True)):
        digest = hashlib.sha256()
        for part in (raw or b"", (place or "").encode(), (field or "").encode()):
            digest.update(len(part).to_bytes(8, "big") + part)
        digests.append(digest.hexdigest())
        if raw is not None and len(raw) > RAW_BYTES:
            raws[row] = raw[:RAW_BYTES]
            reasons[row] = f"{reasons[row]} (the first {RAW_BYTES:,} of {len(raw):,} bytes are kept)"
    columns = [raws, places, fields, reasons, digests]
    arrays = [pa.array(values, kind.type) for values, kind in zip(columns, LANDED, strict=True)]
    return pa.Table.from_arrays(arrays, schema=LANDED)
