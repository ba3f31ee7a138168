"""Outgoing connections to addresses that users choose. All of them are made here, and only if the guard allows it."""
