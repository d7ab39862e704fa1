"""Quality on late labels: losses, risk, and what a trial's groups lose."""
