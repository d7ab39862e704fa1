"""The rollout room: how one version replaces another, and who answers which entity."""
