"""Errors of JSON-RPC calls, which are texts."""


class RpcError(Exception):
    """An error in the words of the contract."""


FORBIDDEN = "Access was denied to this resource."
INTERNAL = "Internal server error"
UNAVAILABLE = "The forge cannot answer at the moment; try again."
