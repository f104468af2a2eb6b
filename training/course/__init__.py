"""The course of a training: which samples when, at what rate, in which numbers, how long."""
