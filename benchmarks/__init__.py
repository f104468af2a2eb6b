"""Every speed that docs/performance.md states, as a command run from the repository's root."""
