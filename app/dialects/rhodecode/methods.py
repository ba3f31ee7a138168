"""The methods that RhodeCode's clients may call."""

from app.dialects.jsonrpc.methods import Methods

methods = Methods()
