"""zephctl cluster: status, peers, say, listen, drain."""

from __future__ import annotations

import json

import click

from zephctl.app import App, common_options
from zephctl.exits import ExitStatus

COLUMNS = ["name", "up", "silent", "queued", "lag", "dropped", "lost", "problem"]


@click.group()
def cli() -> None:
    """Look at the cluster, say an event to it, hear its events, and leave it.

    \b
      zephctl cluster status
      zephctl cluster peers
      zephctl cluster say prices '{"eur": 1.08}'
      zephctl cluster listen prices
      zephctl cluster drain
    """


@cli.command()
@common_options
def status(app: App) -> int:
    """How the servers are joined, whether that works, and who is there. A lone server is a cluster of one.

    \b
      zephctl cluster status
      zephctl cluster status -o json | jq .servers
    """
    found = app.call("cluster.status")
    if app.output.is_json:
        app.output.record(found)
        return ExitStatus.DONE
    app.output.record(found, ["node", "engine", "state", "servers"], name="node")
    if found["peers"] and app.output.mode == "table":
        app.output.text("")
        app.output.rows("peers", found["peers"], COLUMNS)
    return ExitStatus.DONE


@cli.command()
@common_options
def peers(app: App) -> int:
    """The other servers: whether they are up, for how many seconds they were silent, how many events wait for each,
    were dropped for it, or were lost on the way from it, and what is wrong with it.

    \b
      zephctl cluster peers
      zephctl cluster peers -o json | jq '.peers[] | select(.up | not) | .name'
    """
    app.output.rows("peers", app.call("cluster.peers"), COLUMNS)
    return ExitStatus.DONE


@cli.command()
@click.argument("event")
@click.argument("data", default="null")
@common_options
def say(app: App, event: str, data: str) -> int:
    """Trigger EVENT on all the other servers, as a service does with say(). DATA is JSON.

    \b
      zephctl cluster say prices '{"eur": 1.08}'
      zephctl cluster say flush
    """
    others = app.call("cluster.say", event=event, data=data)
    app.output.say(f"said {event} to {others} other server{'' if others == 1 else 's'}")
    if app.output.is_json:
        app.output.record({"event": event, "servers": others})
    return ExitStatus.DONE


@cli.command()
@click.argument("events", nargs=-1, required=True, metavar="EVENT...")
@common_options
def listen(app: App, events: tuple[str, ...]) -> int:
    """Show these events as they come: those of other servers, and what is said from the shell of this one.

    \b
      zephctl cluster listen prices
      zephctl cluster listen prices flush -o jsonl
    """
    for heard in app.client.stream("cluster.listen", events=list(events)):
        app.output.item(heard, f"{heard['event']}\t{json.dumps(heard['data'], ensure_ascii=False)}")
    return ExitStatus.DONE


@cli.command()
@common_options
def drain(app: App) -> int:
    """Send all clients of this server to the others, and take no new ones until it is started anew.

    \b
      zephctl cluster drain && zephctl wait --for drained
    """
    answer = app.call("cluster.drain")
    count, others = answer["clients"], ", ".join(answer["servers"])
    app.output.say(f"{count} client{'' if count == 1 else 's'} go{'es' if count == 1 else ''} to {others}")
    if app.output.is_json:
        app.output.record(answer)
    return ExitStatus.DONE
