"""A schema registry in small, as Confluent's REST API describes it: subjects, versions, ids, references, log-in."""

from __future__ import annotations

import base64
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

_MEDIA = "application/vnd.schemaregistry.v1+json"


class SchemaRegistryServer:
    """On loopback. `status` is answered to everything when it is set; `requests` are the paths asked for."""

    def __init__(self, user: str = "", password: str = "") -> None:
        self.schemas: list[dict[str, Any]] = []
        self.subjects: dict[str, list[int]] = {}
        self.requests: list[str] = []
        self.status = 0
        registry = self
        expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                registry.requests.append(self.path)
                if expected and self.headers.get("Authorization") != expected:
                    return self._send(401, {"error_code": 401, "message": "Unauthorized"})
                if registry.status:
                    return self._send(registry.status, {"error_code": 50001, "message": "Error in the backend"})
                return self._send(*registry.answer(unquote(self.path)))

            def _send(self, status: int, content: Any) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", _MEDIA)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def register(self, subject: str, schema: Any, references: list[dict[str, Any]] | None = None) -> int:
        """A schema as the newest version of a subject; its id, which equal schemas share."""
        entry = {"schema": json.dumps(schema), "references": references or []}
        number = next((index for index, known in enumerate(self.schemas, 1) if known == entry), 0)
        if not number:
            self.schemas.append(entry)
            number = len(self.schemas)
        self.subjects.setdefault(subject, []).append(number)
        return number

    def answer(self, path: str) -> tuple[int, Any]:
        """What is answered to a path."""
        if found := re.fullmatch(r"/schemas/ids/(\d+)", path):
            number = int(found[1])
            if 1 <= number <= len(self.schemas):
                return 200, self._told(number)
            return 404, {"error_code": 40403, "message": f"Schema {number} not found"}
        if found := re.fullmatch(r"/subjects/([^/]+)/versions/(latest|\d+)", path):
            versions = self.subjects.get(found[1], [])
            version = len(versions) if found[2] == "latest" else int(found[2])
            if not versions:
                return 404, {"error_code": 40401, "message": f"Subject '{found[1]}' not found."}
            if not 1 <= version <= len(versions):
                return 404, {"error_code": 40402, "message": f"Version {version} not found."}
            number = versions[version - 1]
            return 200, {"subject": found[1], "version": version, "id": number, **self._told(number)}
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def stop(self) -> None:
        """Close its door."""
        self.server.shutdown()
        self.server.server_close()

    def _told(self, number: int) -> dict[str, Any]:
        entry = self.schemas[number - 1]
        return {"schema": entry["schema"]} | ({"references": entry["references"]} if entry["references"] else {})
