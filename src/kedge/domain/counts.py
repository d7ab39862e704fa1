"""Counts and sizes as people write them."""


def count(number: int, one: str) -> str:
    """Write a number of things: "1 row", "1,234 rows"."""
    return f"{number:,} {one}{'s' * (number != 1)}"


def size(amount: float) -> str:
    """Write a number of bytes in decimal units, to three figures: "1.57 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:,.0f} TB" if amount >= 99.5 else f"{amount:.3g} TB"
