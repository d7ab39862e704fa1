"""Derived columns: the project's own pure function, run by one piece of code in training and in serving."""

from types import CodeType

import polars as pl

from kedge.domain.features import FeatureService, feature_name
from kedge.domain.ids import Digest, digest_of
from kedge.errors import ConfigError

AT = "at__"


def derived(service: FeatureService, joined: pl.DataFrame) -> pl.DataFrame:
    """Run a service's `derive` on its request columns, its views' features and `at__`, the time the answer is for.

    It sees nothing else, so that it cannot lean on what a request does not carry. Gives the derived columns, one row per
    row in. Raises ConfigError where they are not as the service says.
    """
    if service.derive is None:
        return joined.select()
    made = service.derive(joined.select(*reads(service), AT))
    where = f"derive of service {service.name!r}"
    if not isinstance(made, pl.DataFrame):
        raise ConfigError(f"{where} returned {type(made).__name__}; it must return the Polars frame with further columns")
    if len(made) != len(joined):
        raise ConfigError(f"{where} returned {len(made)} rows for {len(joined)}; it must keep every row, in order")
    if missing := [name for name in service.derived if name not in made.columns]:
        raise ConfigError(f"{where} did not make {', '.join(map(repr, missing))}, which `derived` lists")
    return made.select(service.derived)


def reads(service: FeatureService) -> tuple[str, ...]:
    """List what a service's `derive` sees, besides `at__`: the request columns, then the views' features."""
    looked_up = (feature_name(view, feature) for view in service.views for feature in view.features)
    return tuple(dict.fromkeys((*service.request, *looked_up)))


def digest_of_service(service: FeatureService) -> Digest:
    """Name what a service declares: its columns, its views, and the byte code of `derive`."""
    views = [(view.name, view.entity, view.time, view.created, view.ttl, view.features) for view in service.views]
    body = _body(getattr(service.derive, "__code__", None))
    return digest_of("service", service.name, service.request, views, body, service.derived, service.drop)


def _body(code: CodeType | None) -> list[object]:
    if code is None:
        return []
    inner = [_body(const) if isinstance(const, CodeType) else _text(const) for const in code.co_consts]
    return [code.co_code.hex(), code.co_names, inner]


def _text(const: object) -> str:
    """Write a constant the same way in every process: a set's own order differs."""
    return repr(sorted(map(repr, const))) if isinstance(const, frozenset) else repr(const)
