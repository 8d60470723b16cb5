"""The documents say what the code does."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from zephserver.core.lifecycle import State

ROOT = Path(__file__).parent.parent
PAGES = runpy.run_path(str(ROOT / "docs" / "generate.py"))["PAGES"]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


@pytest.mark.parametrize("place", PAGES)
def test_a_printed_page_is_current(place: str) -> None:
    printed = PAGES[place]()

    assert (ROOT / "docs" / place).read_text(encoding="utf-8") == printed, "run: make docs"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_in_a_document_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8"))

    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]

    assert missing == []


def test_the_walk_through_the_files_names_every_file() -> None:
    walk = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    files = [path for path in (ROOT / "zephserver").rglob("*.py") if path.name not in ("__init__.py", "__main__.py")]

    unnamed = [path.name for path in files if f"{path.name}`" not in walk and path.parent.name != "cluster"]

    assert unnamed == []


def test_the_explanation_has_every_state_of_a_service() -> None:
    text = (ROOT / "docs" / "explanation" / "services.md").read_text(encoding="utf-8")

    missing = [state for state in State if f"| {state} |" not in text]

    assert missing == []


def test_every_public_name_can_be_imported() -> None:
    import zephserver

    for name in zephserver.__all__:
        assert getattr(zephserver, name) is not None
