"""RhodeCode's dialect of JSON-RPC, at /rhodecode/_admin/api."""

from app.dialects.jsonrpc.dialect import RpcDialect, Words, register
from app.dialects.jsonrpc.mounts import build_routes
from app.dialects.rhodecode import code, groups, repositories, users
from app.dialects.rhodecode.methods import methods

__all__ = ["code", "dialect", "groups", "repositories", "routes", "users"]

dialect = register(
    RpcDialect(
        name="rhodecode",
        product="RhodeCode",
        words=Words(
            no_length="Empty body, No Content-Length in request",
            empty_body=None,
            missing="Incorrect JSON data. Missing '{name}'",
            missing_key="Incorrect JSON data. Missing 'api_key or auth_token'",
            bad_key="Invalid API KEY",
            private_method=None,
        ),
        methods=methods,
        ignores_extra_slashes=True,
        refuses_http_methods=True,
        echoes_id_without_key=True,
        empty_key_is_missing=True,
        method_before_key=True,
        suggests_methods=True,
        drops_unknown_arguments=True,
        first_missing_argument=True,
        extern_type="rhodecode",
        unset_uri="",
        admin_permissions=("hg.admin", "hg.create.write_on_repogroup.true"),
        lists_empty_repositories=True,
    )
)
routes = build_routes(dialect)
