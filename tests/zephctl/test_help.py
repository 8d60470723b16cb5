"""Every --help fits on a small terminal, and its examples come before its options."""

from __future__ import annotations

import re
from collections.abc import Callable

import click
import pytest

from tests.zephctl.conftest import Answer
from zephctl.cli import COMMANDS, cli

LINES, COLUMNS = 24, 80
Zephctl = Callable[..., Answer]


def every_command() -> dict[str, click.Command]:
    """Each command as it is typed, '' for zephctl itself."""
    context = click.Context(cli)
    found: dict[str, click.Command] = {"": cli}
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        found[name] = command
        for verb, below in getattr(command, "commands", {}).items():
            found[f"{name} {verb}"] = below
    return found


ALL = every_command()


@pytest.mark.parametrize("words", ALL, ids=lambda words: words or "zephctl")
def test_help_fits_on_a_small_terminal(zephctl: Zephctl, words: str) -> None:
    lines = zephctl(*words.split(), "--help").stdout.splitlines()

    assert max(map(len, lines)) <= COLUMNS
    assert len(lines) <= LINES


@pytest.mark.parametrize("words", ALL, ids=lambda words: words or "zephctl")
def test_examples_come_first(zephctl: Zephctl, words: str) -> None:
    text = zephctl(*words.split(), "--help").stdout

    example = re.search(rf"^ {{4}}(?:\w+ .* \| )?zephctl {words}", text, re.MULTILINE)
    assert example is not None
    assert example.start() < re.search(r"^ *Options:", text, re.MULTILINE).start()  # type: ignore[union-attr]


@pytest.mark.parametrize("words", ALL, ids=lambda words: words or "zephctl")
def test_every_option_says_what_it_does(words: str) -> None:
    options = [one for one in ALL[words].params if isinstance(one, click.Option) and not one.hidden]

    assert [option.name for option in options if not option.help] == []
