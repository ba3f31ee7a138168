"""Rows with the permissions of users and groups on an object."""

from collections.abc import Iterable, Sequence

Grant = tuple[str, str]  # a name and a permission without its family

ORDER = ("admin", "write", "read", "none")


def build_rows(
    family: str, owner: str, admins: Iterable[str], user_grants: Sequence[Grant], group_grants: Sequence[Grant]
) -> list[dict[str, str]]:
    """Build the rows as RhodeCode lists them: administrators of the forge, the owner, the grants to users with
    `default` first and the strongest before others, and the grants to groups.
    """

    def rank(grant: Grant) -> tuple[bool, int, str]:
        return grant[0] != "default", ORDER.index(grant[1]), grant[0]

    everything = [(name, "admin", "user", "super-admin") for name in admins if name != owner]
    everything.append((owner, "admin", "user", "owner"))
    everything += [(*grant, "user", "permission") for grant in sorted(user_grants, key=rank)]
    everything += [(*grant, "user_group", "permission") for grant in group_grants]
    return [
        {"name": name, "permission": f"{family}.{permission}", "type": kind, "origin": origin}
        for name, permission, kind, origin in everything
    ]
