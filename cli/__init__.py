"""The `danlu` command."""
