"""Conversations about money: buying by each method, renewing, changing, filling the balance, codes."""

from __future__ import annotations

import os
import re
import sys

import trio
from person import Person
from screen_judge import actions_of

from vpnd.bot.callbacks import (
    Action,
    Balance,
    ChangeNow,
    ChangePlan,
    ChangeTo,
    History,
    Invite,
    Methods,
    MoreMethods,
    MorePay,
    MorePeriods,
    OneSubscription,
    Paid,
    Pay,
    PayFromBalance,
    Periods,
    Plans,
    Promo,
    Renewal,
    StopStars,
    StopStarsNow,
    Subscriptions,
    TopUp,
    TopUpAmount,
    TopUpOther,
    TopUpPay,
    encode,
)
from vpnd.sandbox.customer import text_of

DAY, HOUR = 86_400, 3600  # seconds


def by(method: str):
    """The button that pays by this method, whatever is bought."""

    def fits(action: Action) -> bool:
        return isinstance(action, Pay | MorePay | TopUpPay) and action.method == method

    return fits


async def shell(person: Person, *words: str) -> str:
    """What a command of the operator's prints."""
    command = [sys.executable, "-m", "vpnd", *words, "--config", str(person.world.config_path)]
    done = await trio.run_process(
        command, check=False, capture_stdout=True, capture_stderr=True, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


async def choose(person: Person, method: str) -> None:
    """From anywhere to a bill for the first period of the first plan."""
    await person.write("/buy")
    await person.press(Periods)
    await person.press(Methods)
    await person.press(by(method))


async def fill(person: Person) -> None:
    """Put the first offered amount on the balance."""
    await person.write("/balance")
    await person.press(TopUp)
    await person.press(TopUpAmount)
    await person.press(by("yookassa"))
    await person.pay()
    await person.told("topped-up")


async def buy_by_crypto_pay(person: Person) -> None:
    """A bill, "not yet" when asked too early, the receipt with the link, and a bill that is done."""
    await choose(person, "cryptopay")
    person.reads("pay-cryptopay")
    bill = await person.press(Paid)
    person.reads("pay-pending")
    await person.pay()
    await person.told("receipt")
    await person.press_on(bill, Paid)
    person.reads("pay-done")
    await person.press(Subscriptions)
    person.reads("subscription-active", "subscription-starting")


async def buy_by_card(person: Person) -> None:
    """YooKassa's page, and the receipt. At most seven taps from /start to a working connection."""
    await person.write("/start")
    await person.press(Plans)
    await person.press(Periods)
    await person.press(Methods)
    await person.press(by("yookassa"))
    person.reads("pay-yookassa")
    await person.pay()
    await person.told("receipt")
    assert person.taps + 1 <= 7  # the page's button is one, too
    await person.connects()


async def buy_by_stars(person: Person) -> None:
    """An invoice of its own, Telegram's question answered, the receipt; the same invoice is not let through a second time."""
    await choose(person, "stars")
    person.reads("pay-stars")
    assert (await person.pay())["ok"]
    await person.told("receipt")
    assert not (await person.pay_again(again=True))["ok"]


async def buy_by_stars_every_month(person: Person) -> None:
    """A link instead of an invoice; Telegram charges again a month later; and it can be stopped."""
    await person.write("/buy")
    await person.press(Periods)
    await person.press(Methods)
    await person.press(
        lambda action: (
            isinstance(action, Pay) and action.method not in ("stars", "yookassa", "cryptopay", "balance")
        )
    )
    person.reads("pay-stars-monthly")
    assert (await person.pay())["ok"]
    await person.told("receipt")
    await person.world.advance(30 * DAY)
    await person.told("receipt-automatic", "receipt-renewed")
    await person.write("/subscription")
    await person.press(StopStars)
    person.reads("stop-stars")
    await person.press(StopStarsNow)
    person.reads("renews-off", "renews-stars")


async def buy_from_the_balance(person: Person) -> None:
    """Nothing is taken before he has said yes, and a second yes takes nothing."""
    await fill(person)
    await choose(person, "balance")
    person.reads("pay-balance")
    question = person.screen
    asked = next(action for action in actions_of(person.screen) if isinstance(action, PayFromBalance))
    await person.press(lambda action: action == asked)
    person.reads("pay-done")
    await person.told("receipt")
    await person.tap(question, encode(asked))
    person.reads("pay-done")
    await person.write("/balance")
    await person.press(History)
    person.reads("history")


async def a_cart_that_goes_on(person: Person) -> None:
    """With too little on the balance he is told what is missing; after the top-up the purchase goes on where it stood."""
    await choose(person, "balance")
    person.reads("pay-balance-short")
    await person.press(TopUpAmount)
    await person.press(by("cryptopay"))
    await person.pay()
    await person.told_with(
        "the way on with what he wanted", lambda action: isinstance(action, Pay | PayFromBalance)
    )
    if person.offers(Pay):
        await person.press(by("balance"))
    person.reads("pay-balance")
    await person.press(PayFromBalance)
    await person.told("receipt")


async def top_up_by_words(person: Person) -> None:
    """An amount of his own; what is none is asked for again; the history has a line for it, and pages."""
    await person.write("/balance")
    await person.press(TopUp)
    await person.press(TopUpOther)
    person.reads("topup-write")
    for words in ("abc", "0", "999999999"):
        await person.write(words)
        person.reads("topup-again")
    await person.write("321")
    person.reads("topup-methods")
    await person.press(by("yookassa"))
    await person.pay()
    await person.told("topped-up")
    for _ in range(9):
        await fill(person)
    await person.press(Balance)
    person.reads("balance")
    newest = await person.press(History)
    person.reads("history")
    older = await person.press(lambda action: isinstance(action, History) and action.before > 0)
    assert text_of(newest) != text_of(older)
    await person.press(lambda action: isinstance(action, History) and action.before == 0)
    assert text_of(person.screen) == text_of(newest)
    await person.go_home()


async def renew(person: Person) -> None:
    """What has ended is renewed by one press on the notice, and keeps its link."""
    await choose(person, "cryptopay")
    await person.pay()
    await person.told("receipt")
    await person.world.advance(30 * DAY + 60)
    await person.told("expired-notice")
    await person.press(Periods)
    person.reads("periods-renew")
    await person.press(Methods)
    await person.press(by("yookassa"))
    await person.pay()
    await person.told("receipt-renewed")
    await person.press(OneSubscription)
    person.reads("subscription-active", "subscription-starting")


async def a_second_subscription(person: Person) -> None:
    """One more beside the first, then a choice of two, each with a way back and home."""
    await choose(person, "cryptopay")
    await person.pay()
    await person.told("receipt")
    await person.write("/subscription")
    await person.press(MorePeriods)
    person.reads("periods-more")
    await person.press(MoreMethods)
    await person.press(by("yookassa"))
    await person.pay()
    await person.told("receipt")
    await person.write("/subscription")
    person.reads("subscriptions")
    await person.press(OneSubscription)
    await person.press(Subscriptions)
    await person.go_home()


async def change_the_plan(person: Person) -> None:
    """He is told what it comes to, says yes, and a second yes changes nothing."""
    await choose(person, "yookassa")
    await person.pay()
    await person.told("receipt")
    await person.write("/subscription")
    await person.press(ChangePlan)
    person.reads("change-plan")
    question = await person.press(ChangeTo)
    person.reads("change-confirm")
    yes = next(action for action in actions_of(person.screen) if isinstance(action, ChangeNow))
    await person.press(ChangeNow)
    person.reads("subscription-active", "subscription-starting")
    await person.tap(question, encode(yes))
    person.reads("subscription-active", "subscription-starting")


async def auto_renewal(person: Person) -> None:
    """It renews itself from the balance before it ends; without money he is told once what is missing."""
    await fill(person)
    await choose(person, "yookassa")
    await person.pay()
    await person.told("receipt")
    await person.write("/subscription")
    await person.press(lambda action: isinstance(action, Renewal) and action.on == 1)
    person.reads("renews-balance")
    await person.world.advance(30 * DAY - 5 * HOUR)
    await person.told("receipt-automatic")
    await person.world.advance(30 * DAY)
    await person.told("renewal-short")
    await person.press(lambda action: isinstance(action, Renewal) and action.on == 0)
    await person.comes_to_read("renews-off")  # a reminder of the end is due by now, too


async def promo_codes(person: Person) -> None:
    """By words, by a command and by a link; what is no code is said to be none, and a code that waits can be taken back."""
    code = f"LESS{person.id}"
    await shell(person, "promo", "add", code, "percent", "25")
    await shell(person, "promo", "add", f"GIFT{person.id}", "money", "50")
    await person.write("/promo")
    person.reads("promo")
    await person.write("no such code")
    person.reads("promo-unknown")
    await person.write(code.lower())
    person.reads("promo-percent")
    await person.write("/buy")
    await person.press(Periods)
    await person.press(Methods)
    person.reads("methods-discounted")
    await person.write(f"/start promo_GIFT{person.id}")
    person.reads("promo-credited")
    await person.write(f"/promo GIFT{person.id}")
    person.reads("promo-already-used")
    await person.write("/start")
    await person.press(Promo)
    person.reads("promo-waiting", "promo")


async def a_guest_by_a_link(person: Person) -> None:
    """Who comes by a link and pays brings his host a reward, which both can read about."""
    await person.write("/start")
    await person.press(Invite)
    person.reads("invite")
    link = re.search(r"start=(ref_\w+)", text_of(person.screen))
    assert link
    guest = person.friend()
    await guest.write(f"/start {link[1]}")
    guest.is_home()
    await choose(guest, "cryptopay")
    await guest.pay()
    await guest.told("receipt")
    await person.told("referral-reward")
    await person.press(Balance)
    person.reads("balance-bonus")
    await person.press(History)
    person.reads("history")


async def money_back(person: Person) -> None:
    """The operator gives a payment back: the customer is told how much, where it goes, and that the access is off."""
    await choose(person, "stars")
    charge = (await person.pay())["charge_id"]
    await person.told("receipt")
    await shell(person, "refund", f"stars:{charge}", "--yes", "--reason", "test")
    await person.told("refund-notice")
    await person.write("/subscription")
    person.reads("subscription-expired", "subscription-none")


SCRIPTS = (
    buy_by_crypto_pay, buy_by_card, buy_by_stars, buy_by_stars_every_month, buy_from_the_balance, a_cart_that_goes_on,
    top_up_by_words, renew, a_second_subscription, change_the_plan, auto_renewal, promo_codes, a_guest_by_a_link, money_back,
)  # fmt: skip
