"""The pages of the UI: templates, styles, small scripts."""
