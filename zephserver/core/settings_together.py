"""What is wrong between settings that are right one by one."""

from __future__ import annotations

import difflib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path

from zephserver.core import settings_kinds as kinds
from zephserver.core.cluster import address
from zephserver.core.processes.plan import faults_of_workers
from zephserver.core.settings_page import Settings


def faults_together(settings: Settings, faulty: set[str]) -> Iterator[tuple[str, str]]:
    """What is wrong between settings that are right one by one: name and fault. The *faulty* ones are left out."""
    if not faulty & {"SERVICE_LIST", "SERVICE_OPTIONS"}:
        yield from _faults_of_options(settings)
    for name in ("LOCK_FILE", "CONFIGURATION_NETWORK_INTERFACE_SERVER", "LOG_PATH"):
        path = getattr(settings, name.lower())
        if name not in faulty and isinstance(path, Path) and not path.parent.is_dir():
            yield name, f"there is no folder {path.parent}; make it with: mkdir -p {path.parent}"
    for name in ("CONFIGURATION_NETWORK_INTERFACE_SERVER", "CONFIGURATION_NETWORK_INTERFACE"):
        size = len(os.fsencode(getattr(settings, name.lower())))
        is_given = name in settings.lines or name.endswith("SERVER")
        if name not in faulty and is_given and size > kinds.SOCKET_PATH_BYTES:
            limit = kinds.SOCKET_PATH_BYTES
            yield name, f"the path has {size} bytes and a UNIX socket takes {limit}; name a shorter one"
    if not faulty & {"CLUSTER_SERVER_LIST", "CLUSTER_NODE", "CLUSTER_ENGINE"}:
        if settings.cluster_engine != address.MESH:
            yield from _faults_of_broker(settings)
        elif len(settings.cluster_server_list) > 1:
            yield from _faults_of_mesh(settings)
    if not faulty & {"WORKERS", "HOST_ZEPH", "CLUSTER_SERVER_LIST", "CLUSTER_ENGINE"}:
        yield from faults_of_workers(settings)
    if settings.websocket_engine == "threaded":
        yield from _faults_of_threaded(settings, faulty)
    tls = {"TLS_CERTIFICATE", "TLS_KEY"}
    if not faulty & tls and (settings.tls_certificate is None) != (settings.tls_key is None):
        yield "TLS_CERTIFICATE", "TLS_CERTIFICATE and TLS_KEY go together; one of them is missing"
    for name in sorted(tls):
        path = getattr(settings, name.lower())
        if name not in faulty and path is not None and not os.access(path, os.R_OK):
            yield name, f"{path} cannot be read"
    has_tls = settings.tls_certificate is not None and settings.tls_key is not None
    if not faulty & tls and has_tls and settings.websocket_engine != "threaded":
        assert settings.tls_certificate is not None
        assert settings.tls_key is not None
        yield from _faults_of_certificate(settings.tls_certificate, settings.tls_key)
    if settings.static_folder is not None and not settings.static_folder.is_dir():
        yield "STATIC_FOLDER", f"there is no folder {settings.static_folder}"


def _faults_of_certificate(certificate: Path, key: Path) -> Iterator[tuple[str, str]]:
    """Files that are no certificate and key, or not of each other."""
    import ssl

    if not (os.access(certificate, os.R_OK) and os.access(key, os.R_OK)):
        return  # that was told
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        what = "do not belong together" if "MISMATCH" in str(error).upper() else "are no certificate and key in PEM"
        yield "TLS_CERTIFICATE", f"{certificate} and {key} {what}: {error}"


def _faults_of_threaded(settings: Settings, faulty: set[str]) -> Iterator[tuple[str, str]]:
    """What the engine without compiled parts does not do."""
    if "TLS_CERTIFICATE" not in faulty and settings.tls_certificate is not None:
        yield "WEBSOCKET_ENGINE", "the engine 'threaded' has no TLS; put a proxy with TLS in front, or use 'picows'"
    is_known = not faulty & {"HOST_ZEPH", "THREADED_ALLOW_REMOTE"}
    if is_known and not settings.threaded_allow_remote and not is_loopback(settings.host_zeph):
        yield (
            "HOST_ZEPH",
            f"the engine 'threaded' listens on loopback only, and {settings.host_zeph} is not; put a proxy in front, "
            "use 'picows', or set THREADED_ALLOW_REMOTE = True",
        )


def advice_together(settings: Settings) -> Iterator[tuple[str, str]]:
    """What works, and what somebody may regret: name and advice."""
    if settings.cluster_engine != address.MESH:
        for broker in address.parse(settings.cluster_engine):
            if broker.scheme in ("nats", "redis") and not is_loopback(broker.host):
                tls = {"nats": "tls", "redis": "rediss"}[broker.scheme]
                yield (
                    "CLUSTER_ENGINE",
                    f"what goes to {broker} is not encrypted, the password neither; outside of a network of your own "
                    f"write {tls}://",
                )


def _faults_of_broker(settings: Settings) -> Iterator[tuple[str, str]]:
    """What keeps this server from its broker, as far as it can be told without it."""
    scheme = address.parse(settings.cluster_engine)[0].scheme
    library, extra = ("nats", "nats") if scheme in address.NATS else ("redis", "redis")
    if importlib.util.find_spec(library) is None:
        yield "CLUSTER_ENGINE", f"{scheme}:// needs a library; install it with: pip install 'zephserver[{extra}]'"
    if len(settings.cluster_node) > address.LONGEST_NODE or not settings.cluster_node.isprintable():
        yield "CLUSTER_NODE", f"expected printable text of at most {address.LONGEST_NODE} characters"


def _faults_of_mesh(settings: Settings) -> Iterator[tuple[str, str]]:
    """What keeps several servers from being joined without a broker."""
    names = [server["hostname"] for server in settings.cluster_server_list]
    if importlib.util.find_spec("zmq") is None:
        yield "CLUSTER_ENGINE", "the engine 'mesh' needs pyzmq; install it with: pip install 'zephserver[cluster]'"
    if settings.cluster_node not in names:
        yield (
            "CLUSTER_NODE",
            f"{settings.cluster_node!r} is not in CLUSTER_SERVER_LIST; which of {', '.join(names)} is this server?",
        )
    strangers = [server["address"] for server in settings.cluster_server_list if not is_loopback(server["address"])]
    if strangers and settings.cluster_secret is None:
        yield (
            "CLUSTER_SECRET",
            f"{strangers[0]} can be reached by other machines, so the servers need a secret that they share; make one "
            "with: openssl rand -hex 32",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    if host.startswith("unix:") or host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False  # a name, which may mean anything


def _faults_of_options(settings: Settings) -> Iterator[tuple[str, str]]:
    """SERVICE_OPTIONS that speak of services which SERVICE_LIST does not have, or in a circle."""
    for name, options in settings.service_options.items():
        if name not in settings.service_list:
            near = difflib.get_close_matches(name, settings.service_list, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield "SERVICE_OPTIONS", f"{name!r} is not in SERVICE_LIST{hint}"
        for other in options.get("requires", ()):
            if other not in settings.service_list:
                yield "SERVICE_OPTIONS", f"{name}: requires {other!r}, which is not in SERVICE_LIST"
    cycle = _cycle({name: options.get("requires", ()) for name, options in settings.service_options.items()})
    if cycle:
        yield "SERVICE_OPTIONS", f"these services require each other: {' -> '.join(cycle)}"


def _cycle(graph: Mapping[str, tuple[str, ...]]) -> list[str]:
    """A cycle in who requires whom, its first name again at the end; [] without."""
    from graphlib import CycleError, TopologicalSorter

    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []
