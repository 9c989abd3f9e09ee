"""Money: exact or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnd.shop.money import EXPONENTS, MAX_MINOR, Money, MoneyError, format_decimal, parse_decimal


@given(st.sampled_from(sorted(EXPONENTS)), st.integers(0, MAX_MINOR))
def test_format_and_parse_are_inverse(currency: str, amount: int) -> None:
    """What is formatted parses back to the same minor units, for every currency and amount."""
    assert parse_decimal(format_decimal(Money(amount, currency)), currency) == Money(amount, currency)


@pytest.mark.parametrize(
    ("text", "currency", "amount"),
    [("199", "RUB", 19900), ("199.5", "RUB", 19950), ("0.07", "RUB", 7), ("1.2300", "RUB", 123), ("150", "XTR", 150),
     ("0.000000001", "TON", 1), ("92233720368547758.07", "RUB", MAX_MINOR)],
)  # fmt: skip
def test_decimal_strings_are_read_exactly(text: str, currency: str, amount: int) -> None:
    """Fewer places than the currency's are filled up; surplus zeros are harmless."""
    assert parse_decimal(text, currency).amount == amount


@pytest.mark.parametrize(
    ("text", "currency"),
    [("1.999", "RUB"), ("1.5", "XTR"), ("-1", "RUB"), ("+1", "RUB"), ("1e3", "RUB"), (" 1", "RUB"), ("1,5", "RUB"),
     ("", "RUB"), ("NaN", "RUB"), ("1\n", "RUB"), ("٣", "RUB"), ("1", "DOUBLOON"), ("92233720368547758.08", "RUB")],
)  # fmt: skip
def test_what_is_not_exact_is_refused(text: str, currency: str) -> None:
    """Nothing is rounded, and no notation but the plain one is taken."""
    with pytest.raises(MoneyError):
        parse_decimal(text, currency)


def test_floats_are_no_money() -> None:
    """An amount is a whole number; a float cannot even be put in."""
    with pytest.raises(MoneyError):
        Money(1.0, "RUB")  # type: ignore[arg-type]  # the point of the test
