"""Who gives a command. Light: plain words start without the command line's library."""

import getpass


def person() -> str:
    """Name who gives the command, as events name a person."""
    return f"person:{getpass.getuser()}"
