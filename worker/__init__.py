"""Hosts one model on one device."""
