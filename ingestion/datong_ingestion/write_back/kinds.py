"""What a candidate is: the serve table's row held against the last state of its key."""

from __future__ import annotations

import json
from dataclasses import replace

from datong_ingestion.write_back.config import FlowConfig
from datong_ingestion.write_back.items import DELETED, Item, Wanted, was_ours
from datong_ingestion.write_back.ledger import OPEN, SETTLED
from datong_ingestion.write_back.payload import Payload, PayloadBuilder, payload_hash
from datong_ingestion.write_back.plan import Candidate


class Kinds:
    """Tells the candidates of a flow apart."""

    def __init__(self, flow: FlowConfig, builder: PayloadBuilder) -> None:
        self._flow, self._builder = flow, builder

    def of(self, one: Candidate) -> tuple[Item, str]:
        """What a candidate is: open, cancel, wrong, new, changed, delete, recheck, renew (unchanged, its digest is an
        old one), or the state in which it is left."""
        last = one.last
        item = Item(one.key, last=last, digest=one.digest)
        if one.row is not None:
            try:
                payload = self._builder.build(one.row)
                item.wanted = Wanted(payload, payload_hash(payload), parameters=self._builder.parameters(one.row))
            except ValueError as error:
                item.error = f"its payload cannot be made: {error}"
        elif one.is_gone and "delete" in self._flow.operations and was_ours(last):
            item.wanted = DELETED
        if last is not None and last.state in OPEN:
            return item, "open"
        if item.error:
            same = last is not None and last.state in {"failed", "dead"} and last.source_digest == one.digest
            return item, last.state if last is not None and same else "wrong"
        if item.wanted is None:
            return item, "cancel" if last is not None and last.state not in SETTLED else "none"
        same = (
            last is not None
            and (last.wanted_hash or last.payload_hash) == item.wanted.hash
            and (last.operation == "delete") == item.wanted.is_delete
            and not (last.state == "cancelled" and last.wanted_hash is None)
        )
        if last is None or not same:
            return item, "delete" if item.wanted.is_delete else "new" if last is None else "changed"
        if last.payload is not None and last.wanted_hash is not None and last.payload_hash != last.wanted_hash:
            mended: Payload = json.loads(last.payload)
            item.wanted = replace(item.wanted, payload=mended, hash=last.payload_hash, asked=last.wanted_hash)
        if last.state == "verified":
            return item, "recheck" if self._flow.pending and self._flow.changes_records else "renew"
        return item, "renew" if last.state == "cancelled" else last.state
