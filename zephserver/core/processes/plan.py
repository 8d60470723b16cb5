"""Settings for several processes: what the one above them gets, and what each of them gets. Pure: no I/O, no clock."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from zephserver.core.settings_page import Settings

BOOT = 15.0  # seconds that a process may take before its services begin to start
# A service starts in no time and a process in a second, so it takes a crash loop longer to be seen as one.
PERIOD = 3.0  # times RESTART_PERIOD
# Shares of SHUTDOWN_TIMEOUT: after the first a worker ends itself, after the second it is killed; then comes the rest.
WORKERS_SHARE, KILL_SHARE = 0.75, 0.85


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker is told when it begins, beside the path of the settings file. JSON carries it."""

    number: int  # 1, 2, ...
    count: int
    folder: str  # where its lock is
    sockets: str  # where its control socket is, and where the workers speak to each other
    port: int
    levels: Mapping[str, str] = field(default_factory=lambda: {"": "INFO"})  # of the log
    captures_output: bool = False  # what is printed goes to the log

    @property
    def control(self) -> str:
        """The path of the control socket."""
        return control_of(self.sockets, self.number)

    def as_dict(self) -> dict[str, Any]:
        """As JSON carries it."""
        return asdict(self)


def slot_name(number: int) -> str:
    """The service that keeps this worker alive."""
    return f"zephserver.core.processes/Worker{number}"


def control_of(sockets: str, number: int) -> str:
    """The path of the control socket of a worker."""
    return f"{sockets}/{number}.sock"


def mesh_of(sockets: str, number: int) -> str:
    """The path of the socket on which a worker hears the others: the longest that there is."""
    return f"{sockets}/{number}.mesh"


def settings_of_parent(settings: Settings) -> Settings:
    """The settings of the process above: its services are the workers, and it is in no cluster."""
    names = [slot_name(number) for number in range(1, settings.workers + 1)]
    options = {
        "restart": "always",
        "essential": True,
        "restart_period": settings.restart_period * PERIOD,
        "start_timeout": settings.start_timeout + BOOT,
        "stop_timeout": settings.shutdown_timeout,
    }
    return replace(
        settings,
        service_list=tuple(names),
        service_options=dict.fromkeys(names, options),
        start_timeout=settings.start_timeout + BOOT,
        cluster_server_list=(),
        cluster_engine="mesh",
    )


def settings_of_worker(settings: Settings, plan: Plan) -> Settings:
    """The settings of one worker: files and sockets of its own, and the port of all."""
    number = plan.number
    mine = replace(
        settings,
        workers=1,
        lock_file=Path(plan.folder) / f"{number}.lock",
        configuration_network_interface_server=Path(plan.control),
        configuration_network_interface=Path(plan.control),
        log_path="-",  # a pipe: the process above has the file
        log_format="json",
        log_level=plan.levels.get("", settings.log_level),
        port_zeph=plan.port,
        reuse_port=True,
        shutdown_timeout=settings.shutdown_timeout * WORKERS_SHARE,
        cluster_node=node_of(settings, number),
        warnings=(),  # the process above has told them
    )
    if settings.cluster_engine != "mesh":
        return mine  # a broker joins them, and the workers of other machines as well: each is a server of its own name
    return replace(
        mine,
        cluster_server_list=tuple(
            {"hostname": node_of(settings, one), "address": f"unix:{mesh_of(plan.sockets, one)}", "port": 0}
            for one in range(1, plan.count + 1)
        ),
        cluster_secret=None,  # nobody else can open the folder of the sockets
    )


def node_of(settings: Settings, number: int) -> str:
    """What a worker is called in the cluster."""
    return f"{settings.cluster_node}-{number}"


def faults_of_workers(settings: Settings) -> Iterator[tuple[str, str]]:
    """Why several workers cannot be had with these settings: setting and fault."""
    if settings.workers < 2:
        return
    if settings.host_zeph.startswith("unix:"):
        yield "HOST_ZEPH", "several workers share a port, not a UNIX socket; name an address, or start one worker"
    if settings.cluster_engine != "mesh":
        return
    if len(settings.cluster_server_list) > 1:
        yield (
            "CLUSTER_SERVER_LIST",
            "the mesh joins several workers of one machine, or servers of several machines with one worker each; "
            "start one worker on each, or name a broker in CLUSTER_ENGINE ('nats://...', 'redis://...')",
        )
    if importlib.util.find_spec("zmq") is None:
        yield (
            "WORKERS",
            "several workers are joined by the mesh, which needs pyzmq; install it with: pip install "
            "'zephserver[cluster]'",
        )
