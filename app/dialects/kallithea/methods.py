"""The methods that Kallithea's clients may call."""

from app.dialects.jsonrpc.both import both
from app.dialects.jsonrpc.methods import Methods

methods = Methods(both)
