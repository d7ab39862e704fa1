"""`kedge monitor`: how models do, what moved, and whether it matters. Each command is imported only when it is named."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    import typer

# command: its module here, the function in it, and what it does
COMMANDS = {
    "show": ("showing", "show", "Show the last windows: rows, labels, loss, metrics, drift, alerts."),
    "skew": ("skewing", "skew", "Show where answers were served otherwise than trained: columns, rows, values."),
    "explain": ("explaining", "explain", "Say what moved and why it matters: features, slices, rows, since when."),
    "compare": ("comparing", "compare", "Compare any table with any other: what moved, how far, how sure."),
    "fairness": ("declared", "fairness", "Show what groups get from a model, and how far apart they are."),
    "business": ("declared", "business", "Show what a model's answers are worth, against the targets."),
    "operations": ("declared", "operations", "Show latency, errors and throughput, against the objectives."),
    "normal": ("normal", "normal", "Give the rows that a model registered by hand calls normal."),
    "reference": ("called", "reference", "Show what a version calls normal, and what its reference cannot tell."),
}


def nouns_of(words: list[str]) -> typer.Typer:
    """Build the commands of `kedge monitor` for these words: only the one that is named is imported."""
    import typer

    nouns = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

    @nouns.callback()
    def monitor() -> None:
        """Look at what is watched of a model, window by window; or compare any two tables."""

    named = next((word for word in words[words.index("monitor") + 1 :] if not word.startswith("-")), None)
    for word, (home, name, text) in COMMANDS.items():
        command = getattr(import_module(f"kedge.cli.monitor.{home}"), name) if word == named else _unnamed
        nouns.command(word, help=text)(command)
    return nouns


def _unnamed() -> None:
    """Stand for a command that was not named: only its help line is ever used."""
