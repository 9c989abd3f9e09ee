"""Amounts as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnd.bot.amounts import read_amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("250", 25000), ("250.50", 25050), ("250,5", 25050), ("1 000,5 ₽", 100050), ("1 000,50₽", 100050),
        ("1,000.50", 100050), ("1.000,50", 100050), ("1,000", 100000), ("1.000.000", 100000000), ("0,500", 50),
        ("RUB 300", 30000), ("300 руб.", 30000), ("300 рублей", 30000), ("300р", 30000), ("300 rub", 30000),
        ("0,01", 1), ("1'000", 100000),
    ],
)  # fmt: skip
def test_what_is_understood(text: str, amount: int) -> None:
    """Spaces, separators of either language and the sign of the currency do not stand in the way."""
    assert read_amount(text, "RUB") == amount


@pytest.mark.parametrize(
    "text",
    ["", "much", "0", "0.00", "-5", "+5", "5-10",
     "250.505.5", "250.5050", "0,505", "1e3", "٢٥٠", "250 250.1.1", "1..5", "½", "9" * 41, "₽",
     "12 apples", "0x10", "1,00.5,0", "99999999999999999999"],
)  # fmt: skip
def test_what_is_not(text: str) -> None:
    """Whatever is no positive amount of the currency is not guessed at."""
    assert read_amount(text, "RUB") is None


def test_each_currency_has_its_places() -> None:
    """Stars are whole; a coin with many places has no thousands that look like them."""
    assert read_amount("150", "XTR") == 150
    assert read_amount("1.5", "XTR") is None
    assert read_amount("1.500", "TON") == 1_500_000_000


@given(st.integers(min_value=1, max_value=10**12))
def test_whatever_is_shown_is_understood(amount: int) -> None:
    """An amount written plainly comes back exactly."""
    assert read_amount(f"{amount // 100}.{amount % 100:02}", "RUB") == amount


@given(st.text(max_size=60))
def test_nothing_is_raised(text: str) -> None:
    """Whatever somebody writes, the answer is an amount or none."""
    amount = read_amount(text, "RUB")

    assert amount is None or amount > 0
