"""Each kind takes what it should, and says what it expected otherwise."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from zephserver.core import settings_kinds as kinds

NODE = {"hostname": "a", "address": "10.0.0.1", "port": 1}
GOOD: list[tuple[Any, Any, Any]] = [
    (kinds.a_level, "debug", "DEBUG"),
    (kinds.a_level, 30, "WARNING"),
    (kinds.a_text, "words", "words"),
    (kinds.a_path, "a/b", Path("a/b")),
    (kinds.a_path, Path("c"), Path("c")),
    (kinds.a_log_path, "-", "-"),
    (kinds.a_log_path, "x.log", Path("x.log")),
    (kinds.a_socket, "./s.sock", Path("./s.sock")),
    (kinds.a_flag, False, False),
    (kinds.a_count, 1, 1),
    (kinds.a_count_or_zero, 0, 0),
    (kinds.a_count_or_zero, 3, 3),
    (kinds.seconds, 2, 2.0),
    (kinds.seconds_or_zero, 0, 0.0),
    (kinds.seconds_or_zero, 0.0, 0.0),
    (kinds.seconds_or_zero, 2, 2.0),
    (kinds.a_secret, "x" * 32, "x" * 32),
    (kinds.histories, {}, {}),
    (kinds.histories, {"chat-*": (100, 300), "*": [1, 0.5]}, {"chat-*": (100, 300.0), "*": (1, 0.5)}),
    (kinds.a_port, 65535, 65535),
    (kinds.a_service, "a.b/C", "a.b/C"),
    (kinds.services, ["a/B", "c/D"], ("a/B", "c/D")),
    (kinds.services, (), ()),
    (kinds.tasks, {"Echo": "a/B"}, {"Echo": "a/B"}),
    (kinds.texts, ["*"], ("*",)),
    (kinds.a_rate, (100, 200), (100.0, 200.0)),
    (kinds.nodes, [NODE], (NODE,)),
    (kinds.nodes, [NODE, NODE | {"hostname": "b", "port": 2}], (NODE, NODE | {"hostname": "b", "port": 2})),
    (kinds.a_host, "::1", "::1"),
    (kinds.a_host, "unix:/run/x", "unix:/run/x"),
    (kinds.proxies, ["unix", "10.0.0.0/8"], ("unix", ip_network("10.0.0.0/8"))),
    (kinds.options, {"a/B": {"restart": "never"}, "c/D": {}}, {"a/B": {"restart": "never"}, "c/D": {}}),
    (kinds.one_of("x", "y"), "y", "y"),
    (kinds.optional(kinds.a_count), None, None),
    (kinds.optional(kinds.a_count), 5, 5),
]  # fmt: skip
BAD: list[Any] = [
    (kinds.seconds_or_zero, -1, "a number of seconds, 0 or more"),
    (kinds.seconds_or_zero, False, "a number of seconds, 0 or more"),
    (kinds.seconds_or_zero, float("nan"), "a number of seconds, 0 or more"),
    (kinds.seconds_or_zero, float("inf"), "a number of seconds, 0 or more"),
    (kinds.seconds_or_zero, "1", "a number of seconds, 0 or more"),
    (kinds.seconds_or_zero, None, "a number of seconds, 0 or more"),
    (kinds.a_secret, "x" * 31, "32 characters or more"),
    (kinds.a_secret, "", "32 characters or more"),
    (kinds.a_secret, "x" * 31 + "\0", "32 characters or more"),
    (kinds.a_secret, b"x" * 32, "32 characters or more"),
    (kinds.a_secret, None, "32 characters or more"),
    (kinds.histories, [], "a dict of pattern"),
    (kinds.histories, None, "a dict of pattern"),
    (kinds.histories, {"*": 100}, "expected (messages, seconds)"),
    (kinds.histories, {"*": (100,)}, "expected (messages, seconds)"),
    (kinds.histories, {"*": (100, 300, 1)}, "expected (messages, seconds)"),
    (kinds.histories, {"*": (0, 300)}, "expected (messages, seconds)"),
    (kinds.histories, {"*": (100, 0)}, "expected (messages, seconds)"),
    (kinds.histories, {"*": (1.5, 300)}, "expected (messages, seconds)"),
    (kinds.histories, {"*": "ab"}, "expected (messages, seconds)"),
    (kinds.histories, {"*": None}, "expected (messages, seconds)"),
    (kinds.histories, {"": (100, 300)}, "expected (messages, seconds)"),
    (kinds.histories, {5: (100, 300)}, "expected (messages, seconds)"),
    (kinds.histories, {"*": (True, 300)}, "expected (messages, seconds)"),
    (kinds.a_level, "LOUD", "a level such as 'INFO'"),
    (kinds.a_level, 31, "a level such as 'INFO'"),
    (kinds.a_level, None, "a level such as 'INFO'"),
    (kinds.a_text, "", "expected text"),
    (kinds.a_text, b"bytes", "expected text"),
    (kinds.a_path, 3, "the path of a file"),
    (kinds.a_path, "a\0b", "the path of a file"),
    (kinds.a_path, Path("a\0b"), "the path of a file"),
    (kinds.a_log_path, [], "the path of a file"),
    (kinds.a_socket, 8080, "the path of a UNIX socket"),
    (kinds.a_socket, ("127.0.0.1", 80), "only a socket file has an owner"),
    (kinds.a_socket, "[::1]:80", "only a socket file has an owner"),
    (kinds.a_socket, ":8080", "only a socket file has an owner"),
    (kinds.a_flag, 1, "True or False"),
    (kinds.a_count, 0, "1 or more"),
    (kinds.a_count, True, "1 or more"),
    (kinds.a_count, 1.5, "1 or more"),
    (kinds.a_count_or_zero, False, "0 or more"),
    (kinds.a_count_or_zero, -1, "0 or more"),
    (kinds.seconds, 0, "more than 0"),
    (kinds.seconds, True, "more than 0"),
    (kinds.seconds, float("inf"), "more than 0"),
    (kinds.seconds, float("nan"), "more than 0"),
    (kinds.seconds, "5", "more than 0"),
    pytest.param(kinds.seconds, 10**400, "a number of seconds", id="no float is that large"),
    (kinds.seconds, 1e12, "a number of seconds"),  # no lock can wait that long: threading.TIMEOUT_MAX is 292 years
    (kinds.a_port, 65536, "a port from 0 to 65535"),
    (kinds.a_port, True, "a port from 0 to 65535"),
    (kinds.a_service, "a.b.C", "'path.to.module/ClassName'"),
    (kinds.a_service, 3, "path.to.module/ClassName"),
    (kinds.services, "a/B", "a list of"),
    (kinds.services, 3, "a list of"),
    (kinds.services, ["a/B", "a/B"], "a/B is there twice"),
    (kinds.tasks, [], "a dict of task name"),
    (kinds.tasks, {"": "a/B"}, "1 to 255 characters"),
    (kinds.tasks, {"a\nb": "a/B"}, "printable"),
    (kinds.tasks, {"x" * 256: "a/B"}, "1 to 255 characters"),
    (kinds.tasks, {3: "a/B"}, "the name of a task"),
    (kinds.tasks, {"Echo": "nope"}, "task 'Echo': expected"),
    (kinds.texts, "*", "a list of texts"),
    (kinds.texts, [""], "a list of texts"),
    (kinds.texts, 3, "a list of texts"),
    (kinds.a_rate, (1, 2, 3), "as in"),
    (kinds.a_rate, "12", "as in"),
    (kinds.a_rate, (1, 0.5), "as in"),
    (kinds.a_rate, (0, 5), "a number more than 0"),
    (kinds.nodes, "a", "a list of"),
    (kinds.nodes, 3, "a list of"),
    (kinds.nodes, [{"hostname": "a"}], "'hostname': ..., 'address': ..., 'port': ..."),
    (kinds.nodes, ["a"], "'hostname': ..., 'address': ..., 'port': ..."),
    (kinds.nodes, [NODE, NODE], "each hostname once"),
    (kinds.nodes, [NODE, NODE | {"hostname": "b"}], "each address and port once, got the same for 'a' and 'b'"),
    (
        kinds.nodes,
        [NODE | {"address": "unix:/a"}, {"hostname": "b", "address": "unix:/a", "port": 2}],
        "each address and port once",
    ),
    (kinds.nodes, [NODE | {"port": "x"}], "a port"),
    (kinds.a_host, "unix:", "an address such as '127.0.0.1', or 'unix:PATH'"),
    (kinds.a_host, "a b", "an address such as"),
    (kinds.a_host, 3, "an address such as"),
    (kinds.proxies, ["nobody"], "a list of addresses, networks and 'unix': 'nobody'"),
    (kinds.proxies, "10.0.0.1", "a list of addresses"),
    (kinds.options, [], "a dict of service path"),
    (kinds.options, {"a/B": 3}, "a/B: expected a dict of options"),
    (kinds.options, {"a/B": {"color": 3}}, "a/B: no option 'color'; there are restart, requires"),
    (kinds.options, {"a/B": {"restart": "now"}}, "a/B: restart: expected 'never' or 'on-failure' or 'always'"),
    (kinds.one_of("x", "y"), "z", "'x' or 'y'"),
]


@pytest.mark.parametrize(("kind", "value", "expected"), GOOD)
def test_a_good_value_is_returned_as_the_program_uses_it(kind: Any, value: object, expected: object) -> None:
    parsed = kind(value)

    assert parsed == expected
    assert type(parsed) is type(expected)


@pytest.mark.parametrize(("kind", "value", "text"), BAD)
def test_a_bad_value_is_refused_with_what_was_expected(kind: Any, value: object, text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|no option") as caught:
        kind(value)

    assert text in str(caught.value)
