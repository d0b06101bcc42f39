"""`moirai models`: the checkpoints known by name, as a table or as JSON."""

import json
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from moirai.catalogue import MILLION, known_models


def list_models(*, as_json: bool) -> None:
    """Print what is known by name; nothing is downloaded."""
    models = known_models()
    if as_json:
        print(json.dumps([asdict(one) for one in models], indent=2, default=str))  # noqa: T201
        return
    table = Table(title="Models known by name; other hub ids and folders work as well", title_justify="left")
    for title in ("model", "weights", "MB", "licence", "here"):
        table.add_column(title, justify="right" if title in ("weights", "MB") else "left", no_wrap=True)
    for one in models:
        size = (f"{one.parameters / MILLION:,.1f} M", f"{one.megabytes:,.1f}")
        table.add_row(one.reference, *size, one.licence, "no" if one.folder is None else "yes")
    console = Console()
    console.print(table)
    console.print("CC-BY-NC-4.0: not for commercial use. What is not here is downloaded at first use.", highlight=False)
