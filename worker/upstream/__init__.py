"""An engine that computes nothing: it asks another OpenAI-compatible server."""
