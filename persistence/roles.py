"""Whether a role of the database may serve: it must see every namespace's rows. Nothing is granted here."""

from __future__ import annotations

from persistence.database import Connections
from persistence.errors import RoleError

_BLIND = b"""
SELECT current_user, string_agg(relation::text, ', ' ORDER BY relation::text)
FROM meter.tenant_tables() AS relation
WHERE NOT meter.sees_all(relation)
"""


async def check_role(database: Connections) -> None:
    """See that this role may serve. What it does not see would be taken for what is not there.

    Raises RoleError when row-level security hides rows from it, MeterUnavailableError.
    """
    async with database.connection() as connection:
        cursor = await connection.execute(_BLIND)
        ((role, blind),) = await cursor.fetchall()
    if blind is not None:
        raise RoleError(
            f"the role {role} does not see every namespace's rows in {blind}; connect as the owner of the "
            "schema meter, or GRANT quotagate_service to this role; when it is the owner, as after a restore "
            "for another one, SELECT meter.create_roles() lets it in"
        )
