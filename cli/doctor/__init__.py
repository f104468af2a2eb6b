"""`danlu doctor`: what keeps this machine from serving, why, and the command that mends it."""
