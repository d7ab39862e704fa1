"""The monitoring room: windows of predictions, drift, late labels, risk and alerts."""
