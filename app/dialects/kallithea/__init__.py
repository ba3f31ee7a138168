"""Kallithea's dialect of JSON-RPC, at /kallithea/_admin/api."""

from app.dialects.jsonrpc.dialect import RpcDialect, Words, register
from app.dialects.jsonrpc.mounts import build_routes
from app.dialects.kallithea import code, groups, repositories, users
from app.dialects.kallithea.methods import methods

__all__ = ["code", "dialect", "groups", "repositories", "routes", "users"]

dialect = register(
    RpcDialect(
        name="kallithea",
        product="Kallithea",
        words=Words(
            no_length="No Content-Length in request",
            empty_body="Content-Length is 0",
            missing="Incorrect JSON query missing '{name}'",
            missing_key="Incorrect JSON query missing 'api_key'",
            bad_key="Invalid API key",
            private_method="Method not allowed",
        ),
        methods=methods,
        ignores_extra_slashes=False,
        refuses_http_methods=False,
        echoes_id_without_key=False,
        empty_key_is_missing=False,
        method_before_key=False,
        suggests_methods=False,
        drops_unknown_arguments=False,
        first_missing_argument=False,
        extern_type="internal",
        unset_uri=None,
        admin_permissions=("hg.admin",),
        lists_empty_repositories=False,
    )
)
routes = build_routes(dialect)
