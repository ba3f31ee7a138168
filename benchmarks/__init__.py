"""Measurements of a running forge, each beside its floor on the same machine."""
