"""Who may do what, and that nothing is done unasked or unwritten."""

from __future__ import annotations

import pytest
from shop_world import ShopWorld

from vpnd.database.errors import DatabaseError
from vpnd.database.scope import Transaction
from vpnd.shop.audit_log import AlreadyDone, Change, entries, perform
from vpnd.shop.operators import (
    ROLES,
    Actor,
    NotAllowed,
    Permission,
    actor_of,
    authorise,
    list_operators,
    may,
    remove_operator,
    set_operator,
    shell_actor,
)

#: What each role may do, written out: a change of it is a decision, and no accident.
EXPECTED = {
    "reader": {"status.look", "customers.look", "catalogue.look", "broadcasts.look", "figures.look", "audit.look"},
    "support": {
        "status.look", "customers.look", "catalogue.look", "customers.message", "customers.days", "customers.reissue",
        "alerts.handle",
    },
    "manager": {one.value for one in Permission} - {"operators.edit", "exports.secrets"},
    "owner": {one.value for one in Permission},
}  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_may_do(role: str) -> None:
    """The matrix of roles and permissions is the one that is documented."""
    assert {one.value for one in Permission if may(role, one)} == EXPECTED[role]  # type: ignore[arg-type]


async def made(shop: ShopWorld, telegram_id: int, role: str) -> Actor:
    """An operator of this role."""
    await shop.do(lambda tx: set_operator(tx, telegram_id, role, name="N", by="shell:root"))  # type: ignore[arg-type]
    return await actor_of(shop.db, telegram_id, ())


async def nothing(_tx: Transaction) -> Change:
    """A deed."""
    return Change(subject="customer:1", before={"days": 1}, after={"days": 2})


@pytest.mark.postgres
@pytest.mark.parametrize("role", ROLES)
async def test_each_deed_is_asked_about_where_it_is_done(shop: ShopWorld, role: str) -> None:
    """A role that allows it does it and leaves a line; one that does not changes nothing and leaves none."""
    actor = await made(shop, 777, role)
    expected = []
    for permission in Permission:

        async def body(tx: Transaction, wanted: Permission = permission) -> Change:
            return await perform(tx, actor, wanted, nothing, request_key=f"update:{wanted}", reason=" why ")

        if permission.value in EXPECTED[role]:
            await shop.do(body)
            expected.append(permission.value)
        else:
            with pytest.raises(NotAllowed):
                await shop.do(body)

    lines = await entries(shop.db, limit=100)
    assert [line.action for line in reversed(lines)] == expected
    for line in lines:
        assert (line.actor, line.role, line.subject) == ("admin:777", role, "customer:1")
        assert (line.before, line.after, line.reason) == ({"days": 1}, {"days": 2}, "why")


@pytest.mark.postgres
async def test_a_role_counts_as_it_is_now(shop: ShopWorld) -> None:
    """Who lost his role meanwhile may not, whatever he was when he wrote; and the configuration's owner always may."""
    actor = await made(shop, 777, "owner")
    await shop.do(lambda tx: remove_operator(tx, 777))

    with pytest.raises(NotAllowed):
        await shop.do(lambda tx: authorise(tx, actor, Permission.STATUS))
    fixed = await actor_of(shop.db, 777, (777,))
    assert (await shop.do(lambda tx: authorise(tx, fixed, Permission.OPERATORS))).role == "owner"
    assert (
        await shop.do(lambda tx: authorise(tx, shell_actor("root"), Permission.OPERATORS))
    ).name == "shell:root"
    assert (await actor_of(shop.db, 777, ())).role is None


@pytest.mark.postgres
async def test_a_request_is_done_once(shop: ShopWorld) -> None:
    """A replayed update, or a second press on one question, changes nothing more."""
    actor = await made(shop, 777, "support")
    await shop.do(lambda tx: perform(tx, actor, Permission.GIVE_DAYS, nothing, request_key="asked:5"))

    with pytest.raises(AlreadyDone):
        await shop.do(lambda tx: perform(tx, actor, Permission.GIVE_DAYS, nothing, request_key="asked:5"))

    assert len(await entries(shop.db)) == 1


@pytest.mark.postgres
async def test_what_failed_is_not_written(shop: ShopWorld) -> None:
    """A deed that raises leaves neither a change nor a line, and may be asked for again."""
    actor = await made(shop, 777, "owner")

    async def fails(_tx: Transaction) -> Change:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await shop.do(lambda tx: perform(tx, actor, Permission.BALANCE, fails, request_key="asked:5"))

    assert await entries(shop.db) == []
    await shop.do(lambda tx: perform(tx, actor, Permission.BALANCE, nothing, request_key="asked:5"))


@pytest.mark.postgres
async def test_the_log_is_never_changed(shop: ShopWorld) -> None:
    """Not even by whoever can write to the database in passing."""
    actor = await made(shop, 777, "owner")
    await shop.do(lambda tx: perform(tx, actor, Permission.BALANCE, nothing, request_key="asked:5"))

    with pytest.raises(DatabaseError, match="refused the row"):
        await shop.execute("update audit_log set actor = 'admin:1'")


@pytest.mark.postgres
async def test_the_log_is_read_in_pages(shop: ShopWorld) -> None:
    """The newest first, of one subject or one actor, and on from where the last page ended."""
    owner = await made(shop, 777, "owner")
    other = await made(shop, 778, "manager")
    for number in range(3):
        key = f"asked:{number}"
        actor = owner if number != 1 else other
        await shop.do(lambda tx, a=actor, k=key: perform(tx, a, Permission.BALANCE, nothing, request_key=k))

    first = await entries(shop.db, limit=2)
    rest = await entries(shop.db, before=first[-1].id, limit=2)

    assert [line.actor for line in (*first, *rest)] == ["admin:777", "admin:778", "admin:777"]
    assert len(await entries(shop.db, actor="admin:778")) == 1
    assert await entries(shop.db, subject="plan:basic") == []


@pytest.mark.postgres
async def test_operators_are_listed_owners_first(shop: ShopWorld) -> None:
    """A role is given, changed, and taken away; the list has the owners at its head."""
    await made(shop, 1, "reader")
    await made(shop, 2, "owner")
    before = await shop.do(lambda tx: set_operator(tx, 1, "support", name="S", by="admin:2"))

    assert before == "reader"
    assert [(one.telegram_id, one.role) for one in await list_operators(shop.db)] == [
        (2, "owner"),
        (1, "support"),
    ]
    assert await shop.do(lambda tx: remove_operator(tx, 1)) == "support"
    assert await shop.do(lambda tx: remove_operator(tx, 1)) is None
    with pytest.raises(ValueError, match="no role"):
        await shop.do(lambda tx: set_operator(tx, 1, "king", name="", by="x"))  # type: ignore[arg-type]
