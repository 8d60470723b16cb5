"""Rows D11 and D16: who may not come in is told at the door, before anybody is asked; a TLS port speaks TLS only."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.chaos.peers import Crowd, Peer, message, opening
from tests.chaos.site import DOORMAN, ERRANDS, SETTINGS, Caller, Site
from tests.conformance.peer import KEY
from tests.scale import FULL, at_most

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder

pytestmark = [pytest.mark.chaos, pytest.mark.alone, pytest.mark.timeout(600 if FULL else 60)]
Figure = Callable[[str], None]


# -- D11 --------------------------------------------------------------------------------------------------------------


def origin(value: str, host: str = "chat.example:8080") -> bytes:
    """A handshake of a page, who says hello at once."""
    return opening(f"Origin: {value}", host=host) + message(session_id="mallory", room="lobby")


def changed(old: str, new: str) -> bytes:
    """A good handshake with something else in it."""
    return opening().replace(old.encode(), new.encode("latin-1")) + message(session_id="mallory", room="lobby")


REFUSED: dict[str, tuple[int, bytes]] = {
    "another site": (403, origin("http://evil.example")),
    "no origin at all, in a word": (403, origin("null")),
    "an empty origin": (403, origin("")),
    "the same name with more behind": (403, origin("http://chat.example.evil.example:8080")),
    "the same name with more in front": (403, origin("http://evilchat.example:8080")),
    "a name before an @": (403, origin("http://chat.example:8080@evil.example")),
    "a path behind": (403, origin("http://chat.example:8080/")),
    "another port": (403, origin("http://chat.example:8081")),
    "no port": (403, origin("http://chat.example")),
    "no scheme": (403, origin("chat.example:8080")),
    "two origins in one": (403, origin("http://chat.example:8080 http://evil.example")),
    "two origins": (400, opening("Origin: http://chat.example:8080", "Origin: http://evil.example")),
    "a page of this host, with another Host": (403, origin("http://chat.example:8080", "evil.example")),
    "no Host": (400, changed("Host: 127.0.0.1\r\n", "")),
    "two Hosts": (400, changed("Host: 127.0.0.1\r\n", "Host: a\r\nHost: b\r\n")),
    "an empty Host": (400, changed("Host: 127.0.0.1", "Host: ")),
    "a Host of two words": (400, changed("Host: 127.0.0.1", "Host: a b")),
    "a Host with a path": (400, changed("Host: 127.0.0.1", "Host: a/b")),
    "a body": (400, changed("Upgrade: w", "Content-Length: 5\r\nUpgrade: w") + b"hello"),
    "a body in chunks": (400, changed("Upgrade: w", "Transfer-Encoding: chunked\r\nUpgrade: w") + b"0\r\n\r\n"),
    "POST": (405, changed("GET", "POST")),
    "OPTIONS": (405, changed("GET", "OPTIONS")),
    "CONNECT": (405, b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n"),
    "HTTP/1.0": (400, changed("HTTP/1.1", "HTTP/1.0")),
    "HTTP/2": (400, changed("HTTP/1.1", "HTTP/2")),
    "the preface of HTTP/2": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"),
    "bare line feeds": (408, opening().replace(b"\r\n", b"\n")),
    "one bare line feed": (400, changed("\r\nUpgrade", "\nUpgrade")),
    "a bare carriage return": (400, changed("\r\nUpgrade", "\rUpgrade")),
    "a vertical tab": (400, changed("Upgrade: websocket", "Upgrade: websocket\x0b")),
    "a vertical tab in a name": (400, changed("Upgrade:", "Upgrade\x0b:")),
    "a NUL": (400, changed("127.0.0.1", "127.0\0.0.1")),
    "a folded line": (400, changed("Upgrade: websocket", "Upgrade:\r\n websocket")),
    "a space before the colon": (400, changed("Upgrade:", "Upgrade :")),
    "another version": (426, changed("Version: 13", "Version: 8")),
    "a key that is too short": (400, changed(KEY, "c2hvcnQ=")),
    "a start of TLS": (400, bytes.fromhex("16030100a5010000a1") + b"\r\n\r\n"),
    "not a request": (400, b"hello\r\n\r\n"),
}


class Guest(Peer):
    """Sends a request and what follows it, and listens."""

    def __init__(self, request: bytes) -> None:
        super().__init__()
        self.request = request


def test_d11_pages_and_requests_that_may_not_come_in_are_refused_before_any_look_up(
    new_folder: Callable[..., Folder], figure: Figure
) -> None:
    site = Site(new_folder(), "HANDSHAKE_TIMEOUT = 1")
    site.settle()
    asked = site.facts()["asked"]
    with Crowd(site.port) as crowd:
        guests = {name: crowd.join(Guest(request)) for name, (_, request) in REFUSED.items()}
        crowd.run(lambda: all(guest.status or guest.is_over for guest in guests.values()), "all are told", 10.0)
        wrong = {name: guest.status for name, guest in guests.items() if guest.status != REFUSED[name][0]}
        assert not wrong, wrong
        crowd.run(lambda: all(guest.is_over for guest in guests.values()), "all are hung up", 10.0)

    assert site.facts()["asked"] == asked, "the session manager was asked"
    figure(f"{len(REFUSED)} requests refused, 0 look-ups, {site.assert_healthy()}")


def test_d11_listed_origins_hold_whatever_the_host_says(new_folder: Callable[..., Folder]) -> None:
    site = Site(new_folder(), "ALLOWED_ORIGINS = ['https://*.chat.example', 'http://localhost:3000']")
    asked = site.facts()["asked"]
    wrong = {
        "rebound name": origin("http://evil.example", "evil.example"),
        "dot": origin("https://xchat.example"),
        "suffix": origin("https://a.chat.example.evil.example"),
        "port": origin("https://a.chat.example:444"),
        "scheme": origin("http://a.chat.example"),
        "localhost": origin("http://localhost"),
        "path trick": origin("https://evil.example/.chat.example"),
        "query trick": origin("https://evil.example?.chat.example"),
        "back slash": origin("https://evil.example\\.chat.example"),
    }
    with Crowd(site.port) as crowd:
        guests = {name: crowd.join(Guest(request)) for name, request in wrong.items()}
        welcome = crowd.join(Caller())
        welcome.request = opening("Origin: https://a.chat.example")
        crowd.run(lambda: welcome.welcome and all(guest.is_over for guest in guests.values()), "all have their answer")

    assert {name: guest.status for name, guest in guests.items()} == dict.fromkeys(wrong, 403)
    assert site.facts()["asked"] == asked + 1
    site.assert_quiet()


# -- D16 --------------------------------------------------------------------------------------------------------------

TLS = "TLS_CERTIFICATE = 'cert.pem'\nTLS_KEY = 'key.pem'\n"


def certify(folder: Folder, *words: str) -> None:
    """Make a certificate for 127.0.0.1 and its key."""
    run = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
           "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=127.0.0.1",
           "-addext", "subjectAltName=IP:127.0.0.1", *words]  # fmt: skip
    subprocess.run(run, cwd=folder.path, capture_output=True, check=True, timeout=30)


def secure_site(folder: Folder, settings: str = "") -> tuple[Site, ssl.SSLContext]:
    """A server with a certificate, and what a client needs to believe it."""
    certify(folder)
    context = ssl.create_default_context(cafile=str(folder.path / "cert.pem"))
    return Site(folder, TLS + settings), context


def greet(site: Site, context: ssl.SSLContext) -> bytes:
    """A whole handshake over TLS; the answer's first bytes."""
    plain = socket.create_connection(("127.0.0.1", site.port), 10.0)
    with plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
        secure.sendall(opening())
        return secure.recv(4_096)


def hear(connection: socket.socket) -> bytes:
    """All that the server says until it hangs up."""
    heard = b""
    try:
        while data := connection.recv(65_536):
            heard += data
    except ConnectionResetError:
        pass
    return heard


def test_d16_a_plain_client_on_the_tls_port_hears_no_plain_text(
    new_folder: Callable[..., Folder], figure: Figure
) -> None:
    site, context = secure_site(new_folder(), "HANDSHAKE_TIMEOUT = 1")
    heard = []
    for request in (opening(), b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"x" * 100_000, b"\x16\x03\x01", b""):
        with socket.create_connection(("127.0.0.1", site.port), 10.0) as plain:
            plain.sendall(request)
            heard.append(hear(plain))

    # RFC 8446, 5.1: at most an alert, which is a record of type 21
    assert all(not words or words[0] == 21 for words in heard), heard
    assert not any(b"HTTP" in words for words in heard)
    assert greet(site, context).startswith(b"HTTP/1.1 101 ")
    assert site.facts()["asked"] == 0
    site.assert_quiet()
    figure(f"5 plain clients heard {[len(words) for words in heard]} bytes, no HTTP")


def test_d16_half_a_tls_handshake_is_cut_off(new_folder: Callable[..., Folder], figure: Figure) -> None:
    site, context = secure_site(new_folder(), "HANDSHAKE_TIMEOUT = 1")
    greet(site, context)
    before = site.process.descriptors
    hello = ssl.MemoryBIO()
    half = context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="127.0.0.1")
    with pytest.raises(ssl.SSLWantReadError):
        half.do_handshake()
    words = hello.read()
    with Crowd(site.port) as crowd:
        guests = [crowd.join(Guest(words[: len(words) // (1 + number % 2)])) for number in range(200)]
        began = time.monotonic()
        crowd.run(lambda: len(guests) and crowd.turn() is None and time.monotonic() - began > 0.3, "they are there")
        assert greet(site, context).startswith(b"HTTP/1.1 101 ")
        crowd.run(lambda: all(guest.is_over for guest in guests), "they are cut off", 10.0)

    longest = max(guest.ended - guest.began for guest in guests)
    assert longest < at_most(3.0)
    end = time.monotonic() + 10.0
    while site.process.descriptors > before:
        assert time.monotonic() < end, f"{site.process.descriptors} descriptors, {before} before"
        time.sleep(0.02)
    site.assert_quiet()
    figure(f"200 half handshakes, the last gone after {longest:.1f} s of 1 s")


def swap_key(folder: Folder) -> None:
    """Put the key of another certificate there."""
    certify(folder)
    certificate = (folder.path / "cert.pem").read_text()
    certify(folder)
    folder.write("cert.pem", certificate)


def good_but(name: str, text: str | None) -> Callable[[Folder], None]:
    """Make a good certificate and key, and then spoil one of the files."""

    def spoil(folder: Folder) -> None:
        certify(folder)
        (folder.path / name).unlink()
        if text is not None:
            folder.write(name, text)

    return spoil


BROKEN: dict[str, Callable[[Folder], None]] = {
    "no certificate": good_but("cert.pem", None),
    "no key": good_but("key.pem", None),
    "an empty certificate": good_but("cert.pem", ""),
    "a key that is none": good_but("key.pem", "no key"),
    "the key of another": swap_key,
}


@pytest.mark.parametrize("name", BROKEN)
def test_d16_without_a_good_certificate_it_does_not_start(
    new_folder: Callable[..., Folder], wait_until: Callable[..., float], name: str
) -> None:
    folder = new_folder(SETTINGS + TLS + "RESTART_INTENSITY = 0", doorman=DOORMAN, errands=ERRANDS)
    BROKEN[name](folder)

    server = folder.start(ready=False)

    wait_until(lambda: server.has_ended() or "is ready" in server.errors, "it says yes or no")
    said = server.errors.strip()
    assert "is ready" not in said, "it runs"
    assert server.wait() != 0
    assert "Traceback" not in said
    assert any(word in said for word in ("TLS_CERTIFICATE", "TLS_KEY", "cert.pem", "key.pem")), said
    assert "listening on" not in folder.log


def test_d16_a_certificate_without_its_key_is_refused(new_folder: Callable[..., Folder]) -> None:
    folder = new_folder(SETTINGS + "TLS_CERTIFICATE = 'cert.pem'", doorman=DOORMAN, errands=ERRANDS)
    good_but("key.pem", None)(folder)

    server = folder.start(ready=False)

    assert server.wait(20.0) != 0
    assert "TLS_KEY" in server.errors
