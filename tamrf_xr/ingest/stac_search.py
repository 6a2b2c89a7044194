"""Ask a catalogue for items: all pages, again where it stumbles, and say what was not there."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from tamrf_xr.errors import IngestError, OptionError
from tamrf_xr.ingest.stac_area import Area
from tamrf_xr.ingest.stac_catalogs import Catalog

log = logging.getLogger(__name__)

Item = Mapping[str, Any]
"""An item as the catalogue gives it."""

_TIMEOUT = 60.0
"""Seconds to wait for an answer."""

_AGAIN = (429, 500, 502, 503, 504)
"""Answers after which to ask again."""

_PAGE = 100
"""Items of a page."""


def needs_extra(error: ImportError) -> OptionError:
    """Return the error that says how to install what is missing."""
    return OptionError(f"STAC needs the extra: pip install 'tamrf-xr[stac]' ({error})")


def search(
    catalog: Catalog, collections: Iterable[str], area: Area, *, retries: int
) -> list[dict[str, Any]]:
    """Return every item that the catalogue has of a place and time.

    Parameters
    ----------
    catalog
        The catalogue.
    collections
        Their ids.
    area
        Place and time.
    retries
        How often to ask again, with waits that double from half a second.

    Raises
    ------
    IngestError
        If the catalogue cannot be reached, or refuses, or has nothing: where and what was asked.
    """
    try:
        from pystac import STACError
        from pystac_client import Client
        from pystac_client.errors import ClientTypeError
        from pystac_client.exceptions import APIError
    except ImportError as error:
        raise needs_extra(error) from error
    names = list(collections)
    try:
        client = Client.open(catalog.url, stac_io=_connection(catalog.url, retries))
        found = client.search(
            method=_method(client),
            collections=names,
            intersects=dict(area.geometry),
            datetime=area.period,
            limit=_PAGE,
        )
        items = list(found.items_as_dicts())
        there = [] if items else [one.id for one in client.get_collections()]
    except (APIError, ClientTypeError, STACError, ValueError, KeyError, TypeError) as error:
        raise IngestError(
            f"{catalog.url} could not be searched for {', '.join(names)}, {area.period}, tried "
            f"{retries + 1} times: {_first_line(error)}; check the address and the network, and "
            "whether the catalogue is up"
        ) from error
    if not items:
        raise IngestError(_nothing(catalog, names, area, there))
    return items


def _method(client: Any) -> str:
    """Return how to search: POST, where the catalogue does not say that it takes GET alone."""
    said = {link.extra_fields.get("method", "GET") for link in client.get_links("search")}
    return "GET" if said == {"GET"} else "POST"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def _nothing(catalog: Catalog, names: list[str], area: Area, there: list[str]) -> str:
    absent = [name for name in names if name not in there]
    if absent and there:
        return (
            f"{catalog.url} has no collection {', '.join(absent)}; it has "
            f"{', '.join(sorted(there)[:20])}: name one with collections="
        )
    return (
        f"{catalog.url} has no item of {', '.join(names)} in {_place(area)}, {area.period}: the "
        "place may lie outside of what it covers (are longitude and latitude exchanged?), or the "
        "period before or after it; ask for other ground or days"
    )


def _place(area: Area) -> str:
    numbers = ", ".join(f"{value:.8g}" for value in area.bounds)
    return f"{area.name + ' ' if area.name else ''}({numbers}; {area.crs.to_string()})"


def _connection(url: str, retries: int) -> Any:
    """Return pystac-client's connection, which also follows links that are relative."""
    from pystac_client.stac_api_io import StacApiIO
    from urllib3 import Retry

    class Connection(StacApiIO):
        def request(self, href: str, *arguments: Any, **options: Any) -> str:
            # pystac-client 0.9.1 takes a relative `next` for an address, and fails.
            if not urlsplit(href).scheme:
                log.info("%s: relative link %s", url, href)
                href = urljoin(self.last, href)
            self.last = href
            return str(super().request(href, *arguments, **options))

        last = url

    retry = Retry(
        total=retries,
        backoff_factor=0.5,
        status_forcelist=_AGAIN,
        allowed_methods=None,
        raise_on_status=False,
    )
    return Connection(max_retries=retry, timeout=_TIMEOUT)


def clear_enough(items: Iterable[Item], max_cloud: float | None) -> list[Item]:
    """Return the items with at most so much cloud, in percent; those that do not say so stay.

    Asked here and not of the catalogue: not every one can filter.

    Raises
    ------
    OptionError
        If `max_cloud` is no percentage.
    IngestError
        If none is left.
    """
    items = list(items)
    if max_cloud is None:
        return items
    if not 0 <= max_cloud <= 100:
        raise OptionError(f"max_cloud is {max_cloud!r:.40}; expected percent, 0 to 100")
    covers = [item["properties"].get("eo:cloud_cover") for item in items]
    kept = [
        item
        for item, cover in zip(items, covers, strict=True)
        if cover is None or cover <= max_cloud
    ]
    if not kept:
        least = min(cover for cover in covers if cover is not None)
        raise IngestError(
            f"all {len(items)} items have more than {max_cloud:g} % of cloud, the clearest "
            f"{least:g} %; raise max_cloud="
        )
    return kept
