"""Says loudly which tests of the whole loop were skipped, and why."""

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was not tested."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if "tests/loop/" in report.nodeid]
    if skipped:
        terminalreporter.section("THE WHOLE LOOP WAS NOT TESTED", sep="!", red=True, bold=True)
        for report in skipped:
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            terminalreporter.write_line(f"{report.nodeid}: {why}", red=True, bold=True)
