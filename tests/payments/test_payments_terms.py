"""The terms and the desk: what the settings come to in minor units, and who does which job."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from shop_world import ShopWorld

from vpnd.config import (
    ConfigError,
    CryptoPaySettings,
    Secret,
    Settings,
    ShopSettings,
    TelegramSettings,
    YooKassaSettings,
)
from vpnd.config.settings import StarsSettings
from vpnd.database.outbox_rows import Dead, OutboxItem, Retry
from vpnd.payments.desk import RELAYS, open_desk
from vpnd.payments.terms import terms_of, topups_of
from vpnd.runtime.http import open_http_client
from vpnd.runtime.limits import Limits
from vpnd.shop.pricing import Terms
from vpnd.telegram.outgoing import open_sender

TOKEN = Secret("123456:AAzQcZWQqQAbsfgPnOLr4FHC8Doa4L7KryC")


def settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {
        "telegram": TelegramSettings(token=TOKEN),
        "cryptopay": CryptoPaySettings(token=TOKEN, minimum="1.50"),
        "yookassa": YooKassaSettings(
            shop_id="100500", secret_key=Secret("test_key-that-is-long"), minimum="10"
        ),
    }
    return Settings(**(values | changes))


def test_all_ways_in_the_order_in_which_they_are_offered() -> None:
    """Each with its currency and the least it takes; the balance is always there."""
    assert list(terms_of(settings()).items()) == [
        ("yookassa", Terms("yookassa", "RUB", 1_000)),
        ("cryptopay", Terms("cryptopay", "RUB", 150)),
        ("stars", Terms("stars", "XTR", 1)),
        ("balance", Terms("balance", "RUB", 1)),
    ]


def test_what_is_not_set_up_is_not_offered() -> None:
    """No token, half a pair of keys, Stars switched off."""
    bare = Settings(stars=StarsSettings(enabled=False), yookassa=YooKassaSettings(shop_id="1"))
    assert list(terms_of(bare)) == ["balance"]


def test_prices_in_a_coin_have_the_coins_minimum() -> None:
    """The least is read in the currency that is asked."""
    terms = terms_of(settings(cryptopay=CryptoPaySettings(token=TOKEN, asset="TON", minimum="0.1")))
    assert terms["cryptopay"] == Terms("cryptopay", "TON", 100_000_000)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"cryptopay": CryptoPaySettings(token=TOKEN, minimum="0.001")}, "cryptopay.minimum"),
        ({"yookassa": YooKassaSettings(shop_id="1", secret_key=TOKEN, minimum="1.005")}, "yookassa.minimum"),
        ({"cryptopay": CryptoPaySettings(token=TOKEN, asset="PEPE")}, "cryptopay.minimum"),
    ],
)
def test_an_amount_that_is_none_of_its_currency_is_a_fault(changes: dict[str, Any], key: str) -> None:
    """It names its key, as every fault of the configuration does."""
    with pytest.raises(ConfigError) as caught:
        terms_of(settings(**changes))
    assert key in caught.value.render()


def test_topups_in_minor_units() -> None:
    """Presets beyond the limits are not offered."""
    found = topups_of(
        Settings(shop=ShopSettings(topups=("10", "250", "200000"), topup_min="50", topup_max="100000"))
    )
    assert (found.presets, found.least, found.most, found.star_worth) == ((25_000,), 5_000, 10_000_000, None)
    assert found.stars_for(25_000) is None
    with pytest.raises(ConfigError) as caught:
        topups_of(Settings(shop=ShopSettings(topup_min="100", topup_max="50")))
    assert "shop.topup_min" in caught.value.render()
    with pytest.raises(ConfigError) as caught:
        topups_of(Settings(shop=ShopSettings(topups=("1.001",))))
    assert "shop.topups" in caught.value.render()


def test_stars_fill_a_balance_by_at_least_what_was_asked() -> None:
    """Whole Stars, rounded up; a Star may be worth a part of a minor unit."""
    found = topups_of(Settings(stars=StarsSettings(topup_rate="1.3")))
    assert found.star_worth == Decimal(130)
    assert (found.stars_for(25_000), found.worth_of_stars(193)) == (193, 25_090)
    assert found.stars_for(26_000) == 200
    fine = topups_of(Settings(stars=StarsSettings(topup_rate="0.003")))
    assert (fine.stars_for(100), fine.worth_of_stars(334)) == (334, 100)
    for amount in range(1, 500):
        stars = fine.stars_for(amount)
        assert stars is not None
        assert fine.worth_of_stars(stars) >= amount > fine.worth_of_stars(stars - 1) - 1
    with pytest.raises(ConfigError) as caught:
        topups_of(Settings(stars=StarsSettings(topup_rate="0")))
    assert "stars.topup_rate" in caught.value.render()


def job(kind: str, payload: dict[str, Any]) -> OutboxItem:
    return OutboxItem(1, kind, "k", "notice", None, payload, 1, 0, False, False)


async def test_the_desk_knows_who_is_set_up(shop: ShopWorld) -> None:
    """By name, with a relay of its own for each, and every kind of job in exactly one relay."""
    async with open_http_client(Limits(2, 2)) as http:
        desk = open_desk(settings(), shop.db, http)
        bare = open_desk(Settings(), shop.db, http)

        assert sorted(desk.providers) == ["cryptopay", "yookassa"]
        assert (bare.providers, bare.cryptopay, bare.yookassa) == ({}, None, None)
        kinds = [kind for relay in RELAYS.values() for kind in relay]
        assert sorted(kinds) == ["refund_cryptopay", "refund_stars", "refund_yookassa", "star_cancel"]
        assert isinstance(await bare.deliver(job("star_cancel", {"telegram_id": 1, "charge_id": "c"})), Dead)


async def test_the_desk_gives_each_refund_to_its_provider(shop: ShopWorld) -> None:
    """A charge in Stars waits for a way to Telegram; Crypto Pay without leave to transfer gives to the balance."""
    from money_world import balance, refund

    one = await shop.customer()
    crypto = await shop.settle(shop.charge(await shop.buy(one)))
    stars = await shop.settle(shop.charge(await shop.buy(one, "stars", days=90)))
    asked = [await refund(shop, each.settlement_id) for each in (crypto, stars)]
    async with open_http_client(Limits(2, 2)) as http:
        desk = open_desk(settings(), shop.db, http)
        await desk.deliver(job("refund_cryptopay", {"refund": asked[0].refund_id}))
        waits = await desk.deliver(job("refund_stars", {"refund": asked[1].refund_id}))
        assert (await balance(shop, one)).own == 19_900
        assert isinstance(waits, Retry)
        async with open_sender(settings()) as sender:
            desk.connect_stars(sender)
            assert desk.stars is not None
