"""Benchmarks of a running forge, each compared with a floor: the same work by the same libraries alone."""
