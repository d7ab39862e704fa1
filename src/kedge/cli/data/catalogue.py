"""`kedge data list`: what the catalogue holds."""

from kedge.cli.data.opening import recorded
from kedge.cli.opening import Json, Store, print_json
from kedge.cli.showing import show_rows


def listed(store: Store = None, as_json: Json = False) -> None:
    """List the datasets of the catalogue."""
    with recorded(store) as records:
        entries = records.meta.datasets.entries()
        newest = {entry.name: records.meta.datasets.find(entry.name) for entry in entries}
    if as_json:
        print_json(entries)
        return
    rows = [
        (entry.name, entry.kind.value, f"v{version.number}", f"{version.rows or version.files:,}", entry.description)
        for entry in entries
        if (version := newest[entry.name]) is not None
    ]
    show_rows(f"{len(rows)} datasets", ("dataset", "kind", "version", "rows or files", "what it is"), rows=rows)
