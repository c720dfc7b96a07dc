"""Fetches what a hook did not prefetch, from the FHIR server of the client that calls and from nowhere else.

CDS Hooks 2.0.1 "FHIR Resource Access": with the token of this call, which is sent to that server only and never kept.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Any
from urllib.parse import urljoin

from service.fetching import Fetch, Fetcher, FetchFailed, NoFreeSlot
from service.json_body import MAX_BYTES, Refusal, parse_json
from service.servers import ServerAddress, WrongAddress, server_address

Json = dict[str, Any]
SECONDS = 1.2  # for all that one call needs: a card that comes later is not looked at
CALLS = 3  # that may wait for a FHIR server at once in one process, so that others find a free thread
QUERIES = 4  # of one call
PAGES = 20
_TOKEN = re.compile(r"[!-~]*", re.ASCII)  # what a header can carry; else a wrong token would look like an outage


@dataclass
class Breaker:
    """Leaves a server alone that failed several calls in a row, or that asked to be left alone."""

    failures: int = 0
    closed_until: float = 0.0

    AFTER = 3
    SECONDS = 10.0
    LONGEST = 60.0

    def note(self, failures: Collection[FetchFailed], now: float) -> None:
        self.failures = self.failures + 1 if failures else 0
        asked = min(max((failure.retry_after for failure in failures), default=0.0), self.LONGEST)
        if asked or self.failures >= self.AFTER:
            self.closed_until = now + max(asked, self.SECONDS if self.failures >= self.AFTER else 0.0)


class Ehr:
    """The FHIR servers of the clients."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetcher = Fetcher(CALLS * QUERIES)
        self._calls = BoundedSemaphore(CALLS)
        self._breakers: dict[ServerAddress, Breaker] = {}
        self._clock = clock

    def fetch(
        self, written: str, allowed: Collection[ServerAddress], token: str, queries: Mapping[str, str]
    ) -> dict[str, Json]:
        """The answer to each query, by its key, where it came whole in time; nothing from a server not allowed.

        A search comes as one Bundle with the entries of all its pages.
        """
        server = _allowed(written, allowed)
        if server is None or not _TOKEN.fullmatch(token) or not self._calls.acquire(blocking=False):
            return {}
        try:
            return self._fetch(server, token, queries)
        finally:
            self._calls.release()

    def _fetch(self, server: ServerAddress, token: str, queries: Mapping[str, str]) -> dict[str, Json]:
        breaker = self._breakers.setdefault(server, Breaker())
        if self._clock() < breaker.closed_until:
            return {}
        visit = _Visit(self._fetcher, server, token, time.monotonic() + SECONDS)
        brought = visit.all(queries)
        breaker.note(visit.outages, self._clock())
        return brought


def _allowed(written: str, allowed: Collection[ServerAddress]) -> ServerAddress | None:
    """The server as the operator wrote it: equal part by part, since a prefix could be another's host."""
    try:
        server = server_address(written)
    except WrongAddress:
        return None
    return server if server in allowed else None


class _Visit:
    """One call to one server, until its deadline."""

    def __init__(self, fetcher: Fetcher, server: ServerAddress, token: str, deadline: float) -> None:
        self._fetcher = fetcher
        self._server = server
        self._deadline = deadline
        self._headers = {"Accept": "application/fhir+json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self.outages: list[FetchFailed] = []

    def all(self, queries: Mapping[str, str]) -> dict[str, Json]:
        """All at once; the further pages of each after its first."""
        started = {key: (query, self._start(f"{self._server}/{query}")) for key, query in queries.items()}
        answers = {key: self._whole(query, fetch) for key, (query, fetch) in started.items()}
        return {key: answer for key, answer in answers.items() if answer is not None}

    def _start(self, url: str, limit: int = MAX_BYTES) -> Fetch | None:
        try:
            return self._fetcher.start(url, self._deadline, self._headers, limit)
        except NoFreeSlot:
            return None

    def _whole(self, query: str, fetch: Fetch | None) -> Json | None:
        """All pages or nothing: half a record would be read as the whole."""
        kind, _, parameters = query.partition("?")
        if not parameters:
            return self._resource(fetch, kind.partition("/")[0])[0]
        entries: list[Json] = []
        url, left = f"{self._server}/{query}", MAX_BYTES
        for _ in range(PAGES):
            page, size = self._resource(fetch, "Bundle")
            if page is None or not _is_search_of(kind, page):
                return None
            entries, left, following = entries + page.get("entry", []), left - size, next_page(page)
            if not following:
                return {"resourceType": "Bundle", "type": "searchset", "entry": entries}
            url = _joined(url, following)
            if not self._server.holds(url):
                return None
            fetch = self._start(url, left)
        return None

    def _resource(self, fetch: Fetch | None, kind: str) -> tuple[Json | None, int]:
        """The resource of that type and its bytes; None where something else came, or nothing."""
        if fetch is None:
            return None, 0
        try:
            body = fetch.result(self._deadline).body
            resource = parse_json(body)
        except FetchFailed as failed:
            if failed.is_outage:
                self.outages.append(failed)
            return None, 0
        except Refusal:
            return None, 0
        if not isinstance(resource, dict) or resource.get("resourceType") != kind:
            return None, 0
        return resource, len(body)


def _is_search_of(kind: str, bundle: Json) -> bool:
    """Does the Bundle hold that type only, besides what the server has to say?"""
    entries = bundle.get("entry", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return False
    resources = [entry.get("resource") for entry in entries]
    return all(isinstance(one, dict) and one.get("resourceType") in (kind, "OperationOutcome") for one in resources)


def next_page(bundle: Json) -> str:
    """The address of the next page, empty where there is none (FHIR R4 "Paging")."""
    return next((url for relation, url in _links(bundle) if relation == "next"), "")


def _joined(url: str, link: str) -> str:
    """The address that a link on a page stands for, empty where it is none."""
    try:
        return urljoin(url, link)
    except ValueError:
        return ""


def _links(bundle: Json) -> Iterator[tuple[object, str]]:
    links = bundle.get("link")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and isinstance(link.get("url"), str):
            yield link.get("relation"), link["url"]
