"""Quality: rows held against what is expected of them, profiles, first drafts of expectations, labels."""
