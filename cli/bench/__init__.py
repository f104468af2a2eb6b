"""`danlu bench`: puts a server under load and says how it bore it. Loads no torch."""
