"""The ways to serve a model that are compared; each module is a process's program."""
