"""Reads what callers say of a hold's legs: who else pays, and how much. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from typing import Any, NamedTuple

from gateway.domain.amounts import DEFAULT_SCALE, MAX_SCALED, exact_number, scale_of
from gateway.domain.entries import MAX_LEGS
from gateway.domain.holds import ALLOW, OVERAGES, Hold, Overage
from gateway.domain.names import parse_account, sound_account
from gateway.verbs.arguments import Arguments

LegWords = Mapping[str, Any]
Also = Sequence[LegWords] | None
# The legs that are asked for: account and scaled amount of each, and the scale of each one's unit.
Asked = tuple[tuple[tuple[str, int], ...], tuple[int, ...]]

_ACCOUNT = ("user_id", "event_type", "unit", "resource")
_LEG = frozenset({*_ACCOUNT, "amount"})
_TOLD = _LEG | {"leg"}
# Whole numbers up to here are exact amounts in every unit.
_PLAIN_MAX = MAX_SCALED // 10**DEFAULT_SCALE
# The amount of a first leg of which has been said what is wrong with it.
_WRONG = object()


def read_legs(
    read: Arguments,
    user_id: str | None,
    event_type: str,
    amount: object,
    unit: str,
    resource: str | None,
    also: Also,
) -> Asked:
    """Read the first leg, whose words are the arguments, and those that are to pay with it."""
    account, scaled, scale = _usual(user_id, event_type, amount, unit, resource) or _checked(
        read, user_id, event_type, amount, unit, resource
    )
    asked = ((account, scaled),), (scale,)
    if also is None:
        return asked
    first = _First(user_id, event_type, unit, resource, amount if scaled > 0 else _WRONG)
    return _with(read, asked, first, also)


def _usual(
    user_id: object, event_type: object, amount: object, unit: Any, resource: object
) -> tuple[str, int, int] | None:
    """Read a leg of the usual shape at little cost: account, scaled amount and scale. None says nothing."""
    if type(amount) is not int or not 0 < amount <= _PLAIN_MAX:
        return None
    account = sound_account(user_id, event_type, unit, resource)
    if account is None:
        return None
    scale = scale_of(unit)
    return account, amount * 10**scale if scale else amount, scale


def _checked(
    read: Arguments, user_id: object, event_type: object, amount: object, unit: object, resource: object
) -> tuple[str, int, int]:
    """Read any leg, and say all that is wrong with it."""
    scale = read.kind(event_type, unit)
    # Without an amount of its own, what is wrong with the first leg's has been said there.
    scaled = 0 if amount is _WRONG else read.positive("amount", amount, scale)
    return read.account(user_id, event_type, unit, resource), scaled, scale


class _First(NamedTuple):
    """What the first leg says; ``amount`` is _WRONG where that is wrong."""

    user_id: object
    event_type: object
    unit: object
    resource: object
    amount: object


def _with(read: Arguments, asked: Asked, first: _First, also: object) -> Asked:
    if not isinstance(also, list | tuple):
        read.fail("also", "VAL_ALSO_INVALID_TYPE", "must be a list of legs")
        return asked
    if len(also) >= MAX_LEGS:
        read.fail("also", "VAL_ALSO_TOO_LONG", f"must name at most {MAX_LEGS - 1} legs beside the first")
        return asked
    legs, scales = list(asked[0]), list(asked[1])
    known = [legs[0][0]]
    for index, leg in enumerate(also):
        account, amount, scale = _leg(read, index, first, leg)
        if account and account in known:
            twin = known.index(account)
            read.fail(f"also[{index}]", "VAL_LEG_DUPLICATE", f"is the same account as leg {twin}")
        known.append(account)
        legs.append((account, amount))
        scales.append(scale)
    return tuple(legs), tuple(scales)


def _leg(read: Arguments, index: int, first: _First, leg: object) -> tuple[str, int, int]:
    """Read one more leg: account, scaled amount and scale. What it does not say is as in the first."""
    if type(leg) is not dict and not isinstance(leg, Mapping):
        read.fail(f"also[{index}]", "VAL_LEG_INVALID_TYPE", "must be an object")
        return "", 0, 0
    told = leg.get("amount")
    amount = first.amount if told is None else told
    event_type, unit = leg.get("event_type", first.event_type), leg.get("unit", first.unit)
    user_id, resource = leg.get("user_id", first.user_id), leg.get("resource", first.resource)
    known = leg.keys() <= _LEG
    usual = _usual(user_id, event_type, amount, unit, resource) if known else None
    if usual is not None:
        return usual
    part = Arguments()
    found = _checked(part, user_id, event_type, amount, unit, resource)
    if not known:
        _refuse_unknown(part, leg, _LEG)
    read.take(f"also[{index}]", part)
    return found


def read_overage(read: Arguments, value: object) -> Overage:
    """Read what becomes of a commit of more than is held."""
    for overage in OVERAGES:
        if value == overage:
            return overage
    read.fail("overage", "VAL_OVERAGE_INVALID", f"must be one of {', '.join(OVERAGES)}")
    return ALLOW


class Told(NamedTuple):
    """An amount for one leg, which is named by index or by words of its account."""

    leg: int | None
    words: tuple[tuple[str, str | None], ...]
    amount: str

    @classmethod
    def read(cls, read: Arguments, place: str, said: object) -> Told | None:
        """Read one; None when it is wrong."""
        if not isinstance(said, Mapping):
            read.fail(place, "VAL_LEG_INVALID_TYPE", "must be an object")
            return None
        part = Arguments()
        leg, words = said.get("leg"), tuple((name, said[name]) for name in _ACCOUNT if name in said)
        amount = exact_number(said.get("amount"))
        if said.get("amount") is None:
            part.fail("amount", "VAL_AMOUNT_NULL", "is required")
        elif amount is None or not amount.is_finite():
            part.fail("amount", "VAL_INVALID_NUMBER", "must be a number")
        if (leg is None) == (not words):
            part.fail("leg", "VAL_LEG_NULL", "or words of its account must name the leg, and not both")
        elif leg is not None and (isinstance(leg, bool) or not isinstance(leg, int)):
            part.fail("leg", "VAL_LEG_INVALID_TYPE", "must be the index of a leg")
        elif leg is not None and not 0 <= leg < MAX_LEGS:
            part.fail("leg", "VAL_LEG_UNKNOWN", f"must be between 0 and {MAX_LEGS - 1}")
        for name, word in words:
            if word is not None and word != "":
                part.name(name, word)
        _refuse_unknown(part, said, _TOLD)
        return None if read.take(place, part) else cls(leg, words, _plain(amount or Decimal(0)))


def read_told(read: Arguments, field: str, said: object) -> tuple[Told, ...]:
    """Read the amounts of single legs: their shape, for what they name is known only with the hold."""
    if said is None:
        return ()
    if not isinstance(said, list | tuple):
        read.fail(field, f"VAL_{field.upper()}_INVALID_TYPE", "must be a list")
        return ()
    if len(said) > MAX_LEGS:
        read.fail(field, f"VAL_{field.upper()}_TOO_LONG", f"must name at most {MAX_LEGS} legs")
        return ()
    told = [Told.read(read, f"{field}[{index}]", one) for index, one in enumerate(said)]
    return tuple(one for one in told if one is not None)


def by_words(told: Sequence[Told]) -> bool:
    """Say whether the hold itself is needed to know which legs are named."""
    return any(one.leg is None for one in told)


def placed(
    field: str,
    told: Sequence[Told],
    amounts: Sequence[int],
    scales: Sequence[int],
    hold: Hold | None,
) -> tuple[int, ...]:
    """Give the amount of each leg: where one was told that, otherwise what ``amounts`` has.

    Raises MeterValidationError naming each that names no leg, or no amount of its unit.
    """
    read, found, named = Arguments(), list(amounts), set[int]()
    for index, one in enumerate(told):
        part, place = Arguments(), f"{field}[{index}]"
        legs = _named(one, len(scales), hold)
        if len(legs) != 1:
            what = "names no leg of this hold" if not legs else "names more than one leg of this hold"
            read.fail(place, "VAL_LEG_UNKNOWN" if not legs else "VAL_LEG_AMBIGUOUS", what)
            continue
        if legs[0] in named:
            read.fail(place, "VAL_LEG_DUPLICATE", f"names leg {legs[0]} again")
        named.add(legs[0])
        found[legs[0]] = part.not_negative("amount", one.amount, scales[legs[0]])
        read.take(place, part)
    read.done()
    return tuple(found)


def _named(told: Told, legs: int, hold: Hold | None) -> list[int]:
    if told.leg is not None:
        return [told.leg] if 0 <= told.leg < legs else []
    accounts = [parse_account(leg.account)._asdict() for leg in hold.legs] if hold else []
    wanted = [(name, word or None) for name, word in told.words]
    return [
        index for index, account in enumerate(accounts) if all(account[name] == word for name, word in wanted)
    ]


def _plain(amount: Decimal) -> str:
    """Write a number in the one way that all its spellings share, as far as it goes: 0.6 is 0.60."""
    return str(Context(prec=len(amount.as_tuple().digits)).normalize(amount))


def _refuse_unknown(part: Arguments, said: Mapping[str, Any], known: frozenset[str]) -> None:
    for name in said:
        if name not in known:
            part.fail(str(name)[:64], "VAL_UNKNOWN_FIELD", "is not a field of a leg")
