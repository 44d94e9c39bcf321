"""The ERP's door: who is asking (basic authentication), the CSRF token, and then reads, writes and batches."""

from __future__ import annotations

import base64
import binascii
import secrets

from datong_infra.sandbox.model import ENTITY_SETS
from datong_infra.sandbox.odata_query import ODataError
from datong_infra.sandbox.odata_server import Bend, Reader, Request, Response, error_response
from datong_infra.sandbox.store import Store


class Erp:
    """Answers every request of the ERP."""

    def __init__(self, store: Store, page_size: int, user: str, password: str) -> None:
        self.store = store
        self.reader = Reader(store, page_size)
        self._user, self._password = user, password

    def handle(self, request: Request, bend: Bend) -> Response:
        """Answer a request below ROOT."""
        service = request.path.removeprefix("/sap/opu/odata/sap").strip("/").partition("/")[0]
        try:
            self._authenticate(request)
            if bend.lose_token:
                for entity in ENTITY_SETS.values():
                    if f"/{entity.name}" in request.path and entity.delta:
                        self.reader.lose_tokens(entity)
            return self.reader.get(request, request.headers.get("host", "127.0.0.1"), bend)
        except ODataError as error:
            response = error_response(error, service)
            if error.status == 401:
                response.headers["www-authenticate"] = 'Basic realm="SAP NetWeaver Application Server [SBX/100]"'
            return response

    def _authenticate(self, request: Request) -> None:
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        try:
            user, _, password = base64.b64decode(text, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            user = password = ""
        if (
            scheme.lower() != "basic"
            or user.upper() != self._user
            or not secrets.compare_digest(password.encode(), self._password.encode())
        ):
            raise ODataError(401, "401", "Logon failed: user or password is wrong")
