"""The whole protocol: every module's rows, in one application."""

from kedge.server.guard import Guard
from kedge.server.house import House
from kedge.server.mlflow import artifacts, experiments, logged_models, metrics, registry, runs, server
from kedge.server.mlflow.router import Handled, Router

# a module of this package adds its ROWS here, and each row's right to security/access.py
TABLES: tuple[tuple[Handled, ...], ...] = (
    server.ROWS,
    experiments.ROWS,
    runs.ROWS,
    metrics.ROWS,
    logged_models.ROWS,
    artifacts.ROWS,
    registry.ROWS,
)


def protocol(house: House, guard: Guard) -> Router:
    """Build the protocol's application over a house."""
    return Router(house, guard, rows=(row for table in TABLES for row in table))
