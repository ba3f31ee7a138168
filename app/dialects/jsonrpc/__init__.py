"""JSON-RPC as RhodeCode and Kallithea speak it: the envelope of both, and the methods that both have."""
