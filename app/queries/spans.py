"""Span: a stretch of time, either end of which may be open."""
