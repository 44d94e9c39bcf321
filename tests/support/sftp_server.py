"""An SFTP server on loopback, over a folder, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import asyncssh


class SftpServer:
    """Serves `folder` to one user. `host_key` is what a client must expect."""

    def __init__(self, folder: Path, user: str, password: str) -> None:
        self.folder, self.user, self.password = folder, user, password
        key = asyncssh.generate_private_key("ssh-ed25519")
        self.host_key = key.export_public_key().decode().strip()
        self.client_key: str | None = None
        self.log_ins = 0
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._server: Any = self._wait(self._listen(key))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _listen(self, key: Any) -> Any:
        own = self

        class Door(asyncssh.SSHServer):
            def begin_auth(self, username: str) -> bool:
                return True

            def password_auth_supported(self) -> bool:
                return True

            def validate_password(self, username: str, password: str) -> bool:
                own.log_ins += 1
                return (username, password) == (own.user, own.password)

            def public_key_auth_supported(self) -> bool:
                return own.client_key is not None

            def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
                return username == own.user and key.export_public_key().decode().strip() == own.client_key

        class Files(asyncssh.SFTPServer):
            def __init__(self, channel: Any) -> None:
                super().__init__(channel, chroot=str(own.folder))

        return await asyncssh.create_server(
            Door, "127.0.0.1", 0, server_host_keys=[key], sftp_factory=Files, allow_scp=False
        )

    def stop(self) -> None:
        async def end() -> None:
            self._server.close()
            await self._server.wait_closed()

        self._wait(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
