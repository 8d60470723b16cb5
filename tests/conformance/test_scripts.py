"""Every row of the table against every server."""

from __future__ import annotations

from collections.abc import Callable

from tests.conformance.cases import Case
from tests.conformance.peer import Heard, Server, play

Servers = Callable[[str, str], Server]

IMPATIENT = (
    0.25  # seconds: a server that takes what it should refuse says nothing more, and that need not be waited for
)


def test_the_server_answers_as_the_rfcs_say(
    servers: Servers, target: str, case: Case, not_strict: Callable[[str], None]
) -> None:
    heard = play(case, servers(target, case.variant), IMPATIENT if target in case.differs else None)

    wrong = _wrong(case, heard)
    if target in case.differs:
        assert wrong, f"{target} answers as the table says; take it out of `differs`"
        return
    assert not wrong, f"{wrong}\nheard {heard}\nallowed {_allowed(case)}"
    if heard.status == 101 and not any(answer.is_strict(heard.events, heard.code) for answer in case.answers):
        not_strict(f"{target} {case.name} {case.sentence}: {_why(case, heard)}")


def _wrong(case: Case, heard: Heard) -> str:
    """What is wrong with the answer, '' if nothing is."""
    if heard.status == 400 and case.may_refuse:
        return ""
    if heard.status != 101:
        return "the handshake was refused"
    if heard.faults:
        return "; ".join(heard.faults)
    if case.agreed is not None and (heard.agreement is not None) != case.agreed:
        return f"compression was {'not ' if case.agreed else ''}agreed on"
    if not any(answer.allows(heard.events, heard.code) for answer in case.answers):
        return "an answer that is not allowed"
    # RFC 6455, 7.1.7: who failed the connection need not read our close frame, and TCP resets it then.
    if heard.ending == "open" or (heard.ending == "reset" and not (case.reset_allowed or heard.answered)):
        return f"the connection does not end cleanly: {heard.ending}"
    return ""


def _why(case: Case, heard: Heard) -> str:
    reasons = [answer.why for answer in case.answers if answer.why and answer.allows(heard.events, heard.code)]
    if reasons:
        return reasons[0]
    wanted = case.answers[0]
    if heard.code not in wanted.codes[:1]:
        return f"close {heard.code} instead of {wanted.codes[0]}"
    return f"{len(heard.events)} of {len(wanted.events)} events, or in another order"


def _allowed(case: Case) -> str:
    lines = []
    for answer in case.answers:
        said = Heard(101, events=list(answer.events), code=answer.codes[0], ending="eof")
        lines.append(f"{said} (codes {answer.codes}, at least {answer.at_least} events)")
    return "\n     or ".join(lines)
