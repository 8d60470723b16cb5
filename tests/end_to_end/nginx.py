"""A real nginx for tests, with the configuration that docs/how-to/nginx.md shows, and clients in front of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.requirements import program
from tests.zephserver.conftest import PATIENCE, Site, Wire
from zephserver.testing import wait_until

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "nginx.md"
NAME = "chat.example.com"
CLIENT = "127.0.0.2"  # where the clients come from, so that nginx's own address is another one
TEXT = 0x1
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="

# Around the page's file: what /etc/nginx/nginx.conf has on a machine, here without root and in one folder.
FRAME = """
{user}
worker_processes 1;
pid nginx.pid;
error_log error.log notice;
events {{ worker_connections 256; }}
http {{
    access_log off;
    default_type text/html;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
{site}
}}
"""


def page_blocks(language: str, page: Path = PAGE) -> list[str]:
    """The pieces of a page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


class Nginx:
    """An nginx of this test, with the page's configuration and the changes of the test."""

    def __init__(self, program: str, folder: Path, page: Path = PAGE) -> None:
        self._program, self.folder, self._page = program, folder, page
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, upstream: str, changes: dict[str, str]) -> None:
        """Start it on a free port. Port 0 is not for nginx, so another one is tried when somebody was faster."""
        for _ in range(5):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
            self._write(upstream, changes)
            self._process = subprocess.Popen([self._program, *self._words, "-g", "daemon off;"], cwd=self.folder)
            wait_until(lambda: self._listens or self._process.poll() is not None, "nginx listens", timeout=PATIENCE)
            if self._process.poll() is None:
                return
            assert "Address already in use" in self.log, self.log
        pytest.fail("nginx found no free port")

    def reload(self) -> None:
        """As `nginx -s reload`; returns when the new worker is there."""
        before = self._workers
        subprocess.run([self._program, *self._words, "-s", "reload"], check=True, timeout=PATIENCE)
        wait_until(lambda: self._workers - before, "a new worker", timeout=PATIENCE)
        wait_until(lambda: "gracefully shutting down" in self.log, "the old worker heard of it", timeout=PATIENCE)

    def stop(self) -> None:
        """End it, and its connections."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)

    @property
    def log(self) -> str:
        """What it says."""
        path = self.folder / "error.log"
        return path.read_text() if path.exists() else ""

    @property
    def _words(self) -> list[str]:
        return ["-p", str(self.folder), "-c", "nginx.conf", "-e", "error.log"]

    @property
    def _workers(self) -> set[str]:
        return set(re.findall(r"start worker process (\d+)", self.log))

    @property
    def _listens(self) -> bool:
        with socket.socket() as probe:
            return bool(self._workers) and probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _write(self, upstream: str, changes: dict[str, str]) -> None:
        site = page_blocks("nginx", self._page)[0]
        changes = {
            "server 127.0.0.1:8080 max_fails=0;": upstream,
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl;",
            "/etc/nginx/chat": str(self.folder),
            "/srv/chat/static": str(self.folder / "static"),
        } | changes
        for old, new in changes.items():
            assert old in site, f"the page does not say {old!r} any more"
            site = site.replace(old, new)
        user = "user root;" if os.geteuid() == 0 else ""  # pytest's folders are for their owner
        (self.folder / "nginx.conf").write_text(FRAME.format(user=user, site=site))


class Front:
    """What the clients see: nginx, and a server behind it."""

    def __init__(self, nginx: Nginx, tls: ssl.SSLContext, stack: ExitStack) -> None:
        self.nginx, self._tls, self._stack = nginx, tls, stack

    @property
    def url(self) -> str:
        """The origin of the pages."""
        return f"https://{NAME}:{self.nginx.port}"

    def wire(self) -> Wire:
        """Somebody who has opened a connection."""
        plain = socket.create_connection(("127.0.0.1", self.nginx.port), PATIENCE, (CLIENT, 0))
        self._stack.callback(plain.close)
        secure = self._tls.wrap_socket(plain, server_hostname=NAME)
        self._stack.callback(secure.close)
        return Wire(secure)

    def knock(
        self, *headers: str, host: str | None = None, path: str = "/ws", version: str | None = "13"
    ) -> tuple[Wire, str]:
        """Send a request, for a WebSocket unless *version* is None; who did, and the head of the answer."""
        wire = self.wire()
        lines = [f"GET {path} HTTP/1.1", f"Host: {host or f'{NAME}:{self.nginx.port}'}", *headers]
        if version is not None:
            lines += ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Version: {version}", KEY]
        wire.send("\r\n".join([*lines, "", ""]).encode())
        return wire, wire.head().decode("latin-1")

    def join(self, *headers: str, **options: Any) -> tuple[Wire, dict[str, Any]]:
        """Somebody who was welcomed, and the welcome."""
        wire, head = self.knock(*headers, **options)
        assert head.startswith("HTTP/1.1 101 "), head
        wire.say(session_id="ann")
        return wire, hear(wire, msgtype="welcome")


def place_of(site: Site) -> str:
    """Where a server listens, as nginx writes it."""
    if site.port is None:
        return f"unix:{site.host}"
    return f"[{site.host}]:{site.port}" if ":" in site.host else f"{site.host}:{site.port}"


def hear(wire: Wire, **wanted: Any) -> dict[str, Any]:
    """The next message with these fields."""
    while True:
        message = json.loads(wire.wait_frame(TEXT))
        if all(message.get(name) == value for name, value in wanted.items()):
            return message  # type: ignore[no-any-return]


def ask(wire: Wire, data: Any) -> Any:
    """What Echo answers."""
    wire.say(task="Echo", data=data, id=1)
    return hear(wire, id=1)["data"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cert.pem and key.pem for the public name."""
    folder = tmp_path_factory.mktemp("certificate")
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem"
    names = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    command = ["openssl", "req", "-x509", *key.split(), "-days", "2", "-out", "cert.pem", *names]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


MakeFront = Callable[..., Front]


@pytest.fixture
def make_front(tmp_path: Path, certificate: Path) -> Iterator[MakeFront]:
    """Starts nginx before these sites, with changes to the page's configuration; it is gone at the end."""
    path = program("nginx")
    with ExitStack() as stack:

        def make(*upstreams: Site | str, changes: dict[str, str] | None = None, page: Path = PAGE) -> Front:
            folder = tmp_path / "nginx"
            (folder / "static").mkdir(parents=True)
            (folder / "static" / "index.html").write_text("<h1>chat</h1>\n")
            for name in ("cert.pem", "key.pem"):
                shutil.copy(certificate / name, folder / name)
            nginx = Nginx(path, folder, page)
            stack.callback(nginx.stop)
            places = [place if isinstance(place, str) else place_of(place) for place in upstreams]
            nginx.start("\n".join(f"server {place} max_fails=0;" for place in places), changes or {})
            return Front(nginx, ssl.create_default_context(cafile=certificate / "cert.pem"), stack)

        yield make
