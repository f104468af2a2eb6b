"""The devices that a worker can own."""
