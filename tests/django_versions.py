"""The versions of Django beside the one that is installed, each in a folder of its own, fetched once."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.requirements import missing

CACHE = Path(__file__).parent.parent / ".cache"
PATIENCE = 120.0  # seconds for fetching one

# The oldest that is promised, the one with long support, and the newest that this Python takes.
WANTED = {"4.2": "django>=4.2,<4.3", "5.2": "django>=5.2,<5.3", "newest": "django"}


def others() -> list[str]:
    """The names of those that are not the installed one. The newest is what pip installs here without being told."""
    import django

    installed = ".".join(map(str, django.VERSION[:2]))
    oldest = ["4.2"] if sys.version_info < (3, 13) else []  # which newer Pythons are not for
    return [name for name in (*oldest, "5.2") if name != installed]


def folder_of(name: str) -> str:
    """Where that version is, for PYTHONPATH. Skips, or fails where all has to be there, when it cannot be fetched."""
    folder = CACHE / f"django-{name}-py{sys.version_info.major}.{sys.version_info.minor}"
    if not (folder / "django").exists():
        CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as place:
            target = Path(place) / "packages"
            words = ["install", "--quiet", "--disable-pip-version-check", "--target", str(target), WANTED[name]]
            done = subprocess.run(
                [sys.executable, "-m", "pip", *words], capture_output=True, text=True, timeout=PATIENCE
            )
            if done.returncode:
                missing(f"Django {name} cannot be fetched: {done.stderr.strip().splitlines()[-1:]}")
            try:
                target.rename(folder)
            except OSError:
                pass  # another process was faster
    return str(folder)
