"""What serving needs of a version, said to people: the same lines on the command line and on its page."""

from collections.abc import Iterator

from kedge.domain.registry import ORIGINAL, CatalogVersion, Servable
from kedge.domain.serving import ParityRecord, TensorSpec

_SHOWN = 20


def described(servable: Servable) -> Iterator[tuple[str, str]]:
    """Give a name and a line for each thing there is to say."""
    yield "format", servable.format + (f", signed by {servable.signer}" if servable.signer else "")
    yield "form", servable.form
    if servable.tensors is not None:
        for spec in servable.tensors.inputs:
            yield "input", _tensor(spec)
        for spec in servable.tensors.outputs:
            yield "output", _tensor(spec)
    else:
        columns = [f"{column.name} {column.type.value}" for column in servable.table.inputs]
        more = f" and {len(columns) - _SHOWN} more" if len(columns) > _SHOWN else ""
        yield "input", ", ".join(columns[:_SHOWN]) + more
        yield "output", f"{servable.table.output} ({servable.table.task.value})"
        if servable.required:
            yield "required", ", ".join(servable.required)
    if servable.service:
        yield "service", servable.service
    if servable.parity is not None:
        yield "parity", parity_told(servable.parity, form=servable.form)


def served_as(version: CatalogVersion) -> str:
    """Say in a line how a version is served."""
    found = version.servable
    if found is None:
        return "nobody has looked at how it is served"
    what = "a table" if found.tensors is None else "tensors"
    return f"{found.format}, it answers {what} in its form {found.form}"


def parity_told(parity: ParityRecord, *, form: str) -> str:
    """Say in a sentence how a compiled form compared."""
    if parity.fault:
        return f"the original answers: {parity.fault}"
    apart = f"greatest difference {parity.difference:.3g} over {parity.rows:,} reference rows"
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(parity.libraries.items()))
    if not parity.holds:
        return f"the original answers: {parity.form} lies too far off, {apart}, and {parity.tolerance:.3g} is allowed"
    where = "" if form != ORIGINAL else " (its library is not installed here: the original answers)"
    return f"{parity.form}: {apart}, at most {parity.tolerance:.3g} allowed; made with {libraries}{where}"


def _tensor(spec: TensorSpec) -> str:
    shape = ", ".join("any" if size == -1 else str(size) for size in spec.shape)
    labels = f" of {', '.join(spec.labels[:_SHOWN])}" if spec.labels else ""
    return f"{spec.name} {spec.datatype} [{shape}]{labels}" + (", may be missing" if spec.nullable else "")
