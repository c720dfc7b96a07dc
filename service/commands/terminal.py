"""How the commands print on a terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from service.errors import OperatorError
from service.explain import WIDTH

CODES_SHOWN = 12


def terminal(*, stderr: bool = False, piped_width: int = WIDTH) -> Console:
    """As wide as the terminal, at most WIDTH; piped as wide as asked, without colour."""
    console = Console(stderr=stderr, highlight=False, emoji=False, markup=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else piped_width
    return console


def show(print_on: Callable[[Console], None], console: Console | None = None) -> None:
    """Print without the blanks that fill each line up: they spoil what is piped or copied."""
    console = console or terminal()
    with console.capture() as captured:
        print_on(console)
    for line in captured.get().splitlines():
        print(line.rstrip(), file=console.file)


def refuse_missing(path: str) -> None:
    if path != "-" and not Path(path).exists():
        raise OperatorError(f"{path} does not exist. Give the path of a file, or - for standard input.")
    if Path(path).is_dir():
        raise OperatorError(f"{path} is a folder. Give the files in it, such as {path.rstrip('/')}/*.ndjson.")
