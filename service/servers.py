"""Addresses of servers that the operator allows: written without tricks, and compared part by part, never by prefix."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_WRITTEN = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._~/-]*)?", re.ASCII)
_QUERY = re.compile(r"[!-~]*", re.ASCII)
_PORTS = {"http": 80, "https": 443}


class WrongAddress(ValueError):
    """An address that is not taken, and what to give instead."""


@dataclass(frozen=True)
class ServerAddress:
    """Scheme, host, port and path: two spellings of one address are equal."""

    scheme: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    def holds(self, url: str) -> bool:
        """Does a URL lie on this server, at or below its path?"""
        address, _, query = url.partition("?")
        try:
            other = server_address(address)
        except WrongAddress:
            return False
        same = (other.scheme, other.host, other.port) == (self.scheme, self.host, self.port)
        below = other.path == self.path or other.path.startswith(f"{self.path}/")
        return same and below and _QUERY.fullmatch(query) is not None


def server_address(written: str) -> ServerAddress:
    """The parts of an https address, or an http one of this machine; WrongAddress for all else.

    No user, query, fragment, escape or dot segment: a name that two readers could take for two servers is none.
    """
    if not _WRITTEN.fullmatch(written):
        raise WrongAddress("give an address such as https://ehr.example.org/fhir, without user, query or escapes")
    try:
        parts = urlsplit(written)
        port = parts.port or _PORTS[parts.scheme]
    except ValueError:
        raise WrongAddress("give a host and a port that can be read") from None
    host = (parts.hostname or "").rstrip(".")
    if not host or {".", ".."} & set(parts.path.split("/")) or "//" in parts.path:
        raise WrongAddress("give a host, and a path without dot segments")
    if parts.scheme == "http" and not is_loopback(host):
        raise WrongAddress("give an https address; http is for this machine only")
    return ServerAddress(parts.scheme, host, port, parts.path.rstrip("/"))


def is_loopback(host: str) -> bool:
    """Is it this machine? By its number or as localhost, without asking a name server."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
