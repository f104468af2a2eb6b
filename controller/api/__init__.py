"""The OpenAI-style API: requests in, workers asked, answers and event streams out."""
