"""Weights as integers of 8 or 4 bits that stay packed in memory; activations stay what they are."""
