"""Which Kedge this is."""

from importlib.metadata import PackageNotFoundError, version


def installed() -> str:
    """Read the installed version; "0" in a checkout that is not installed."""
    try:
        return version("kedge")
    except PackageNotFoundError:
        return "0"
