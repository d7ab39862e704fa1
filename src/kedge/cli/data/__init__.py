"""`kedge data`: versions of files and tables. Each command is imported only when it is named: a look at what has changed
costs no frame library and no database library."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    import typer

# command: its module here, the function in it, and what it does
COMMANDS = {
    "commit": ("tables", "commit", "Make a table the newest version of a dataset."),
    "add": ("files", "add", "Make files or folders the newest versions of their datasets."),
    "status": ("looks", "status", "Show what has changed in the workspace."),
    "log": ("files", "log", "List the versions of a dataset."),
    "diff": ("files", "diff", "Compare two versions: files, or rows and columns."),
    "tag": ("files", "tag", "Have a tag name a version, or take a tag away."),
    "checkout": ("files", "checkout", "Bring data in the workspace to a version."),
    "gc": ("removing", "gc", "Drop old versions of files that nothing needs, and free their space."),
    "erase": ("removing", "erase", "Erase files or rows from every version of a dataset."),
    "verify": ("verify", "verify", "Read all bytes against their names; fetch what is damaged from a bucket."),
    "push": ("sharing", "push", "Send versions to a bucket."),
    "pull": ("sharing", "pull", "Fetch versions from a bucket, and check them out."),
    "import": ("exchange", "import_", "Make versions of what DVC or git-lfs keep."),
    "export": ("exchange", "export", "Write a version out as plain files, a table, or as DVC keeps it."),
    "list": ("catalogue", "listed", "List the datasets of the catalogue."),
    "find": ("catalogue", "find", "Find datasets by what is said of them."),
    "show": ("catalogue", "show", "Show a dataset: what it is, its columns, its quality, who uses it."),
    "describe": ("catalogue", "describe", "Describe a dataset and its columns; mark what is personal."),
    "labels": ("labels", "labels", "Check labels: classes, contradictions, leaks; whether the data beats a constant."),
    "profile": ("quality", "profile", "Show what a table's columns hold, as pictures."),
    "suggest": ("quality", "suggest", "Draft what to expect of a table from what it holds."),
    "validate": ("quality", "validate", "Say whether a table holds what is expected of it, and which rows do not."),
}


def nouns_of(words: list[str]) -> typer.Typer:
    """Build the commands of `kedge data` for these words: only the one that is named is imported."""
    import typer

    nouns = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    named = next((word for word in words[words.index("data") + 1 :] if not word.startswith("-")), None)
    for word, (home, name, text) in COMMANDS.items():
        command = getattr(import_module(f"kedge.cli.data.{home}"), name) if word == named else _unnamed
        nouns.command(word, help=text)(command)
    return nouns


def _unnamed() -> None:
    """Stand for a command that was not named: only its help line is ever used."""
