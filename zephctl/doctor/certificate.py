"""When a certificate ends. Pure: no I/O, no clock.

Python reads certificates of peers only, so the few bytes that say it are found by hand: X.509 is RFC 5280, 4.1, in DER.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime

END = "-----END CERTIFICATE-----"
UTC_TIME, VERSION = 0x17, 0xA0


def last_day(pem: str) -> float:
    """Until when the first certificate is good, in seconds since 1970. Raises ValueError for what is none."""
    start = pem.find("-----BEGIN CERTIFICATE-----")
    if start < 0 or END not in pem[start:]:
        raise ValueError("there is no certificate in it")
    der = ssl.PEM_cert_to_DER_cert(pem[start : pem.index(END, start) + len(END)])
    try:
        _, certificate = next(_parts(der))
        _, signed = next(_parts(certificate))
        fields = [body for tag, body in _parts(signed) if tag != VERSION]
        # serial number, signature algorithm, issuer, validity: not before, not after
        tag, end = list(_parts(fields[3]))[1]
        text = end.decode("ascii")
        form = "%y%m%d%H%M%SZ" if tag == UTC_TIME else "%Y%m%d%H%M%SZ"
        return datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()
    except (IndexError, StopIteration, UnicodeDecodeError):
        raise ValueError("it is not a certificate") from None


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each value, one after the other."""
    place = 0
    while place < len(data):
        tag, size = data[place], data[place + 1]
        place += 2
        if size & 0x80:
            count = size & 0x7F
            size = int.from_bytes(data[place : place + count], "big")
            place += count
        yield tag, data[place : place + size]
        place += size
