"""Several processes that train one model: who they are, who holds what, and what is written."""
