"""The host's processor: products of few rows, faster than torch's."""
