"""python -m zephctl."""

from zephctl.cli import program

program()
