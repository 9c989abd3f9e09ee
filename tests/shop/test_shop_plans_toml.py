"""plans.toml out of the database: read back, it says the same; and what a file says otherwise is named."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from shop_world import ShopWorld

from vpnd.shop.catalogue import CataloguePlan, Period, list_plans
from vpnd.shop.money import EXPONENTS
from vpnd.shop.plans import apply_plans, load_plans_file, parse_plans
from vpnd.shop.plans_toml import differences, render_plans

words = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=32
).filter(lambda text: text == text.strip() and bool(text))
by_language = st.dictionaries(st.from_regex(r"[a-z]{2}", fullmatch=True), words, min_size=1, max_size=3)
amounts = st.integers(min_value=1, max_value=10**15)
prices = st.dictionaries(st.sampled_from(sorted(EXPONENTS)), amounts, max_size=4).flatmap(
    lambda others: st.builds(lambda own: {**others, "RUB": own}, amounts)
)


@st.composite
def plans(draw: st.DrawFn) -> list[CataloguePlan]:
    """Any catalogue that a file can hold."""
    names = draw(
        st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), min_size=1, max_size=3, unique=True)
    )
    found = []
    for name in names:
        days = sorted(draw(st.sets(st.integers(1, 3660), min_size=1, max_size=3)))
        periods = tuple(Period(0, one, draw(st.booleans()), draw(prices)) for one in days)
        said = draw(st.one_of(st.just({}), by_language))
        found.append(CataloguePlan(name, draw(by_language), said, draw(st.booleans()), None, False, periods))
    return found


@given(plans())
def test_what_is_written_is_read_back(found: list[CataloguePlan]) -> None:
    """Whatever titles, prices and periods there are, the text is a plans file that says the same."""
    read = parse_plans(render_plans(found, currency="RUB"), currency="RUB")

    assert differences(read, found) == []
    assert [plan.id for plan in read] == [plan.id for plan in found]
    assert [plan.titles for plan in read] == [plan.titles for plan in found]


async def test_an_export_applied_again_changes_nothing(shop: ShopWorld) -> None:
    """From the database to a file and back, with nothing edited, moved or lost on the way."""
    await shop.execute(
        'update plans set titles = titles || \'{"en": "A \\"b\\" \\\\ c"}\', on_sale = false where id = \'plus\''
    )
    before = await list_plans(shop.db)

    await apply_plans(shop.db, parse_plans(render_plans(before, currency="RUB"), currency="RUB"))

    assert await list_plans(shop.db) == before


async def test_what_a_file_cannot_hold_is_a_comment(shop: ShopWorld) -> None:
    """A plan without a period, and a period without a price in the shop's currency, are named and left out."""
    await shop.execute("insert into plans (id, titles, on_sale) values ('new', '{\"en\": \"New\"}', false)")
    await shop.execute("insert into offers (plan_id, days, on_sale) values ('basic', 7, false)")

    text = render_plans(await list_plans(shop.db), currency="RUB")

    assert "# The plan new has no period" in text
    assert "# 7 days of basic have no price in RUB" in text
    assert differences(parse_plans(text, currency="RUB"), await list_plans(shop.db)) == []


async def test_each_difference_is_named(shop: ShopWorld) -> None:
    """Prices, words, sale, periods, order and whole plans: one sentence each, with both sides."""
    file = load_plans_file(None)
    assert differences(file, await list_plans(shop.db)) == []
    await shop.execute("update prices set amount = 24900 where currency = 'RUB' and amount = 19900")
    await shop.execute("update offers set on_sale = false where plan_id = 'plus' and days = 90")
    await shop.execute("update plans set position = -1, titles = titles - 'ru' where id = 'plus'")
    await shop.execute("insert into plans (id, titles, position) values ('mine', '{\"en\": \"M\"}', 9)")

    assert differences(file, await list_plans(shop.db)) == [
        'basic: 30.RUB is "249.00" in the shop and "199.00" in the file',
        'plus: title.ru is missing in the shop and "Плюс" in the file',
        "plus: 90.on_sale is false in the shop and true in the file",
        "mine: only the shop has it",
        "the order of plans: plus, basic in the shop",
    ]
