"""The `kedge` command. Each noun is a module, imported only when it is named, so that help costs no frame library.

Exit codes: 0 done; 1 a KedgeError, said in one line; 2 wrong usage; 3 the answer is "no" (a check that did not hold);
130 interrupted.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    import typer

NOUNS = {
    "init": "Make a project that runs at once.",
    "demo": "Play a year of real flights through the loop, then show the UI.",
    "replay": "Play a project's past through its loop as if it were live.",
    "run": "Make one turn of the loop now: data, training, gate, rollout.",
    "watch": "Look at the windows that have closed, then settle rollouts and decide on retraining.",
    "serve": "Serve the deployed model (Open Inference Protocol v2).",
    "up": "Start the control plane: API and UI.",
    "data": "Version files and tables; validate, profile and find them.",
    "features": "Hold the features that were served against the join.",
    "runs": "List, show and compare runs; send what ended scripts left behind.",
    "models": "Keep registered models: versions, aliases, stages, history; promote, roll back, archive.",
    "deploy": "Put a version on trial and follow it: status, looks; pause, resume, approve, promote, abort, roll back.",
    "alerts": "See what is wrong; acknowledge, snooze, resolve, mute; try a channel.",
    "predictions": "Ask the prediction log; compact it, erase from it.",
    "ground-truth": "Tell what came true, by prediction or by entity and time.",
    "policy": "Say what decides on retraining and why; backtest other policies on the project's past.",
    "monitor": "Look at what is watched: quality, drift, skew, fairness, worth, service; compare any tables.",
    "why": "Answer for a prediction or a model version: back to the source.",
    "doctor": "Check the project, the store and its audit chain.",
}


# Several processes share a machine: waiting threads do not spin, and freed memory goes back to the system at once.
# Polars hands its own (jemalloc's) on when it is imported; the C library reads MALLOC_* when a process starts, so those
# count for the processes that a command starts. What a user has set stays.
NEIGHBOURLY = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_MMAP_THRESHOLD_": "1048576",
    "MALLOC_TRIM_THRESHOLD_": "1048576",
}


_GARBAGE = 50_000  # new objects before a search for cycles: imports and lists of files leave none


def main() -> None:
    """Run the command line."""
    from kedge.errors import KedgeError

    gc.set_threshold(_GARBAGE)
    for name, value in NEIGHBOURLY.items():
        os.environ.setdefault(name, value)
    try:
        if sys.argv[1:3] == ["data", "status"]:
            from kedge.cli.data.status import quick

            if (code := quick(sys.argv[3:])) is not None:
                sys.exit(code)
        elif sys.argv[1:3] in (["data", "add"], ["data", "checkout"]):
            from kedge.cli.data import keeping

            if (code := keeping.quick(sys.argv[2:])) is not None:
                sys.exit(code)
        application(sys.argv[1:])(prog_name="kedge")
    except KedgeError as error:
        from kedge.security.redact import redact  # 3 ms that what goes well need not pay

        sys.stderr.write(f"error: {redact(str(error))}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def application(words: list[str]) -> typer.Typer:
    """Build the command for these words: only the noun that is named is imported."""
    import typer

    def show_version(wanted: bool) -> None:
        if wanted:
            from kedge.version import installed

            typer.echo(f"kedge {installed()}")
            raise typer.Exit

    def start(
        version: bool = typer.Option(False, "--version", callback=show_version, is_eager=True, help="Show the version."),
    ) -> None:
        """Run MLOps as one closed loop."""

    app = typer.Typer(
        name="kedge", help="MLOps as one closed loop.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
    )
    app.callback()(start)
    named = next((word for word in words if not word.startswith("-")), None)
    for noun, text in NOUNS.items():
        if noun == named:
            module = import_module(f"kedge.cli.{noun.replace('-', '_')}")
            if hasattr(module, "nouns_of"):
                app.add_typer(module.nouns_of(words), name=noun, help=text)
            elif hasattr(module, "nouns"):
                app.add_typer(module.nouns, name=noun, help=text)
            else:
                app.command(noun, help=text)(module.command)
        else:
            app.command(noun, help=text)(_unnamed)
    return app


def _unnamed() -> None:
    """Stand for a noun that was not named: only its help line is ever used."""


if __name__ == "__main__":
    main()
