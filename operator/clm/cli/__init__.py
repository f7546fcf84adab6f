"""Commands, one file a group; no logic."""
