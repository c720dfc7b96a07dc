"""How often one caller may call, and who that is behind a proxy."""

from __future__ import annotations

import ipaddress
import math
import re
import time
from collections.abc import Callable, Sequence
from threading import Lock

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_WITH_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?")


class RateLimit:
    """A bucket for each caller, filled evenly: `per_minute` calls at once, then one whenever there is room again.

    Each process counts for itself; with several the limit of the service is as many times as high.
    """

    REMEMBERED = 10_000

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._every = 60 / per_minute
        self._clock = clock
        self._lock = Lock()
        self._empty_until: dict[str, float] = {}  # by caller, when its bucket is full again

    def wait(self, caller: str) -> int:
        """Whole seconds until this call may be made; 0 where it is made now."""
        with self._lock:
            now = self._clock()
            if len(self._empty_until) > self.REMEMBERED:
                self._empty_until = {one: full for one, full in self._empty_until.items() if full > now}
            full_again = max(self._empty_until.get(caller, now), now) + self._every
            if full_again - now > 60 + self._every / 1000:  # a thousandth for the rounding of sums
                return math.ceil(full_again - now - 60)
            self._empty_until[caller] = full_again
            return 0


def caller_address(peer: str, forwarded_for: str, proxies: Sequence[Network]) -> str:
    """The address that calls: what X-Forwarded-For says is believed only as far as trusted proxies wrote it."""
    hops = [hop.strip() for hop in forwarded_for.split(",") if hop.strip()]
    address = peer
    while hops and _is_trusted(address, proxies) and (before := _address_in(hops.pop())):
        address = before
    return address


def _address_in(hop: str) -> str:
    """Without the port that some proxies write behind it; empty where it is no address, such as `unknown`."""
    ported = _WITH_PORT.fullmatch(hop)
    try:
        return str(ipaddress.ip_address((ported[1] or ported[2]) if ported else hop))
    except ValueError:
        return ""


def _is_trusted(written: str, proxies: Sequence[Network]) -> bool:
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        return False
    return any(address in network for network in proxies)
