"""tls:// and rediss://: encrypted with a certificate that is trusted, or not at all."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.brokers import PASSWORD, USER, free_port
from tests.requirements import program
from tests.zephserver.core.cluster.conftest import PATIENCE, Bus, joined
from zephserver.testing import wait_until


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate of localhost that has signed itself, and its key."""
    made = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        [program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-out", str(made[0]), "-keyout", str(made[1])],
        check=True, capture_output=True,
    )  # fmt: skip
    return made


def encrypted(bus: Bus, certificate: tuple[Path, Path]) -> str:
    """Have the broker run with TLS; its URL."""
    cert, key = map(str, certificate)
    if bus.kind == "nats":
        bus.use(password=True, options=["--tls", "--tlscert", cert, "--tlskey", key])
        return f"tls://{USER}:{PASSWORD}@127.0.0.1:{bus.broker.port}"
    tls = free_port()
    bus.use(
        password=True,
        options=["--tls-port", str(tls), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no",
                 "--tls-ca-cert-file", cert],
    )  # fmt: skip
    return f"rediss://:{PASSWORD}@127.0.0.1:{tls}"


def test_servers_meet_over_tls_when_they_trust_the_certificate(
    brokered: Bus, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = encrypted(brokered, certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    a, b = brokered.start("a", url=url), brokered.start("b", url=url)
    joined(a, b)

    a.cluster.say("news", "x" * 2_000_000)

    assert len(b.wait_heard(1)[0]) == 2_000_000


def test_a_certificate_that_nobody_trusts_is_refused(brokered: Bus, certificate: tuple[Path, Path]) -> None:
    a = brokered.start("a", url=encrypted(brokered, certificate))

    why = "its certificate is not trusted: self-signed certificate"
    wait_until(lambda: why in a.engine.state(), a.engine.state(), timeout=PATIENCE)

    assert a.engine.state().startswith(f"connecting: {'tls' if brokered.kind == 'nats' else 'rediss'}://127.0.0.1:")
    assert PASSWORD not in a.engine.state()


def test_the_password_is_not_sent_to_a_server_that_offers_no_tls(make_bus: Callable[[str], Bus]) -> None:
    bus = make_bus("nats")
    broker = bus.use(password=True, options=["-DV"])
    a = bus.start("a", url=f"tls://{USER}:{PASSWORD}@127.0.0.1:{broker.port}")

    wait_until(lambda: "offers no TLS" in a.engine.state(), a.engine.state(), timeout=PATIENCE)

    log = (broker._folder / "nats.log").read_text()
    assert f'"user":"{USER}"' not in log  # it shows what a client tells of itself
    assert PASSWORD not in log
