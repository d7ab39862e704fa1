"""Which models there are: a name that none has is said to be unknown, with those there are."""

from kedge.domain.ids import ModelName
from kedge.errors import NotFound
from kedge.ports import MetaStore

_SHOWN = 20


def require_model(meta: MetaStore, model: ModelName, *, own: ModelName) -> ModelName:
    """Give a model's name where it is the project's `own`, or one that was ever registered, deployed or watched.

    Raises NotFound.
    """
    if model == own or model in meta.deployments.names() or meta.models.last_number(model):
        return model
    if meta.registered.find(model) is not None or meta.watches.list(model, limit=1):
        return model
    names = sorted({*meta.models.names(), *meta.deployments.names()})
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    there = (
        f"there are: {', '.join(names[:_SHOWN])}{more}" if names else "there is none yet; register one, or run: kedge run"
    )
    raise NotFound(f"there is no model {model!r}; {there}")
