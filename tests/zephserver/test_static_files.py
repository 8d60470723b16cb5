"""Files of a folder, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zephserver import static_files
from zephserver.engines.interface import HttpResponse
from zephserver.static_files import NOT_FOUND, StaticFiles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of files, with a secret beside it."""
    folder = tmp_path / "static"
    (folder / "sub" / ".git").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "index.html").write_text("<p>home</p>")
    (folder / "a b.txt").write_text("space")
    (folder / "ü.txt").write_text("umlaut")
    (folder / "%41.txt").write_text("percent")
    (folder / "sub" / "index.html").write_text("<p>sub</p>")
    (folder / "sub" / "page.js").write_text("1")
    (folder / ".hidden").write_text("hidden")
    (folder / "sub" / ".git" / "config").write_text("hidden")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "static-too").mkdir()
    (tmp_path / "static-too" / "secret.txt").write_text("secret")
    return folder


@pytest.fixture
def files(folder: Path) -> StaticFiles:
    return StaticFiles(folder)


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/", b"<p>home</p>"),
        ("/index.html", b"<p>home</p>"),
        ("", b"<p>home</p>"),
        ("/sub", b"<p>sub</p>"),
        ("/sub/", b"<p>sub</p>"),
        ("/sub/page.js", b"1"),
        ("/sub//page.js", b"1"),
        ("/sub/page.js?version=2", b"1"),
        ("/?next=/../secret.txt", b"<p>home</p>"),
        ("/a%20b.txt", b"space"),
        ("/%C3%BC.txt", b"umlaut"),
        ("/%2541.txt", b"percent"),
        ("/sub/%70age.js", b"1"),
    ],
)
def test_a_file_of_the_folder_is_served(files: StaticFiles, target: str, body: bytes) -> None:
    response = files.get(target, {})

    assert (response.status, response.body) == (200, body)


@pytest.mark.parametrize(
    "target",
    [
        "/nothing",
        "/sub/nothing.js",
        "/index.html/more",
        "/empty",
        "/../secret.txt",
        "/sub/../../secret.txt",
        "/sub/../index.html",
        "/..",
        "/.",
        "/%2e%2e/secret.txt",
        "/%2E%2E/secret.txt",
        "/.%2e/secret.txt",
        "/sub/%2e%2e/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/sub%2fpage.js",
        "/sub%2Fpage.js",
        "/%2fetc%2fpasswd",
        "/%252e%252e/secret.txt",
        "/../static-too/secret.txt",
        "/index.html%00",
        "/%00",
        "/index.html%00.js",
        "/.hidden",
        "/%2ehidden",
        "/sub/.git/config",
        "/sub/.git",
        "/" + "x" * 5_000,
        "/" + "x/" * 5_000,
        "/%ff%fe",
        "/..\\secret.txt",
        "*",
    ],
    ids=lambda target: target[:32],
)
def test_anything_else_is_not_found(files: StaticFiles, target: str) -> None:
    assert files.get(target, {}) is NOT_FOUND


@pytest.mark.parametrize("target", ["//[", "//[::1/x", "http://[/"])
def test_a_target_that_cannot_be_read_is_not_found(files: StaticFiles, target: str) -> None:
    assert files.get(target, {}) is NOT_FOUND


def test_a_symbolic_link_inside_the_folder_is_followed(files: StaticFiles, folder: Path) -> None:
    (folder / "link.js").symlink_to("sub/page.js")

    assert files.get("/link.js", {}).body == b"1"


@pytest.mark.parametrize("aim", ["../secret.txt", "../static-too/secret.txt", "/etc/passwd", "nowhere", "link.txt"])
def test_a_symbolic_link_that_leads_out_or_nowhere_is_not_found(files: StaticFiles, folder: Path, aim: str) -> None:
    (folder / "link.txt").symlink_to(aim)

    assert files.get("/link.txt", {}) is NOT_FOUND


def test_a_folder_or_an_index_that_is_a_link_out_is_not_found(files: StaticFiles, folder: Path) -> None:
    (folder / "out").symlink_to("../static-too")
    (folder / "empty" / "index.html").symlink_to("../../secret.txt")

    assert files.get("/out/secret.txt", {}) is NOT_FOUND
    assert files.get("/empty/", {}) is NOT_FOUND


def test_what_is_not_a_plain_file_is_not_found(files: StaticFiles, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "empty" / "index.html").mkdir()

    assert files.get("/pipe", {}) is NOT_FOUND
    assert files.get("/empty", {}) is NOT_FOUND


def test_a_file_that_vanishes_meanwhile_is_not_found(
    files: StaticFiles, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_find", lambda target: str(folder / "gone"))

    assert files.get("/gone", {}) is NOT_FOUND


def test_a_folder_that_is_a_link_itself_is_served(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(folder)

    assert StaticFiles(tmp_path / "current").get("/sub/page.js", {}).status == 200


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.html", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.json", "application/json; charset=utf-8"),
        ("a.svg", "image/svg+xml; charset=utf-8"),
        ("a.png", "image/png"),
        ("a.unknown", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
def test_a_file_has_the_type_of_its_name(files: StaticFiles, folder: Path, name: str, kind: str) -> None:
    (folder / name).write_bytes(b"x")

    headers = files.get(f"/{name}", {}).headers

    assert headers["Content-Type"] == kind
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_script_is_javascript_whatever_the_machine_calls_it(files: StaticFiles) -> None:
    kind = files.get("/sub/page.js", {}).headers["Content-Type"]

    assert kind in ("text/javascript; charset=utf-8", "application/javascript; charset=utf-8")


def test_a_browser_that_has_the_file_is_told_so_until_it_changes(files: StaticFiles, folder: Path) -> None:
    first = files.get("/index.html", {})
    tag = first.headers["ETag"]

    again = files.get("/index.html", {"if-none-match": tag})
    (folder / "index.html").write_text("<p>changed</p>")
    changed = files.get("/index.html", {"if-none-match": tag})

    assert first.headers["Cache-Control"] == "no-cache"
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    assert (changed.status, changed.body) == (200, b"<p>changed</p>")
    assert changed.headers["ETag"] != tag


def test_a_file_of_the_same_size_and_second_has_another_tag(files: StaticFiles, folder: Path) -> None:
    page = folder / "index.html"
    os.utime(page, ns=(10**18, 10**18))
    before = files.get("/", {}).headers["ETag"]

    os.utime(page, ns=(10**18, 10**18 + 1))

    assert files.get("/", {}).headers["ETag"] != before


def test_a_file_that_would_hold_up_the_loop_is_not_served(
    files: StaticFiles, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static_files, "LARGEST", 10)
    (folder / "ten").write_bytes(b"x" * 10)
    (folder / "eleven").write_bytes(b"x" * 11)

    assert files.get("/ten", {}).status == 200
    assert files.get("/eleven", {}) == HttpResponse(413, b"files of more than 10 bytes are not served\n")


def test_an_empty_file_is_served_empty(files: StaticFiles, folder: Path) -> None:
    (folder / "nothing.txt").touch()

    assert (files.get("/nothing.txt", {}).status, files.get("/nothing.txt", {}).body) == (200, b"")


@pytest.mark.parametrize("known", ["{}", "W/{}", '"other", {}', '"other",W/{}', "*"])
def test_who_has_it_already_is_told_so(files: StaticFiles, known: str) -> None:
    etag = files.get("/", {}).headers["ETag"]

    assert files.get("/", {"if-none-match": known.format(etag)}).status == 304
    assert files.get("/", {"if-none-match": '"other"'}).status == 200


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("types.d.ts", "text/plain; charset=utf-8"),
        ("page.js.gz", "application/octet-stream"),
        ("logo.svgz", "application/octet-stream"),
        ("unknown.zeph", "application/octet-stream"),
    ],
)
def test_a_type_is_that_of_the_bytes(folder: Path, files: StaticFiles, name: str, kind: str) -> None:
    (folder / name).write_bytes(b"1")

    assert files.get(f"/{name}", {}).headers["Content-Type"] == kind
