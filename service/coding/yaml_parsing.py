"""YAML as a coder means it: no key twice, no key that YAML turns into true, false or a number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from service.coding.errors import PackError

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _StrictLoader(_Loader):  # type: ignore[misc]  # the C loader is untyped
    """Refuses what plain YAML lets pass in silence."""


def _mapping(loader: Any, node: Any) -> dict[str, Any]:
    page: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        line = key_node.start_mark.line + 1
        if not isinstance(key, str):
            raise PackError(
                f"{loader.path}, line {line}: key {key_node.value!r} reads as {type(key).__name__}. Quote it."
            )
        if key in page:
            raise PackError(f"{loader.path}, line {line}: key {key!r} stands twice. Keep one of them.")
        page[key] = loader.construct_object(value_node, deep=True)
    return page


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _loader_of(path: Path) -> Any:
    """A loader that can name its file: the C parser does not keep it."""
    return type("_FileLoader", (_StrictLoader,), {"path": path})


def parse_yaml(path: Path, source: bytes) -> Any:
    """What a YAML file holds; PackError with file, line and remedy when it is none."""
    try:
        return yaml.load(source, Loader=_loader_of(path))  # noqa: S506 - safe underneath
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise PackError(
            f"{path}{where}: not readable as YAML ({getattr(error, 'problem', 'syntax')}). Correct that line."
        ) from None
