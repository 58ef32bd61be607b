"""The bodies and queries of requests, as typed structs. No rule about values and no behaviour lives here.

From these structs come the decoder, the list of what is wrong with a body, and the OpenAPI document.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.api import fields
from gateway.domain.bounds import OPERATIONS_MAX
from gateway.domain.holds import TTL_DEFAULT_SECONDS

_NUMBERS = (int, Decimal)


class Request(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """What every body and query is: a flat object that refuses fields it does not know."""


class AlsoLeg(Request, kw_only=True):
    """One more account of a hold. What it does not say is as in the first leg."""

    user_id: fields.UserId | UnsetType = UNSET
    event_type: fields.EventType | UnsetType = UNSET
    unit: fields.Unit | UnsetType = UNSET
    resource: fields.Resource | UnsetType = UNSET
    amount: fields.LegAmount = None

    def __post_init__(self) -> None:
        if self.amount is not None and type(self.amount) not in _NUMBERS:
            raise TypeError("amount must be a number")


class ToldLeg(Request, kw_only=True):
    """An amount for one leg, which is named by its index or by words of its account that no other leg has."""

    leg: fields.LegIndex = None
    user_id: fields.UserId | UnsetType = UNSET
    event_type: fields.EventType | UnsetType = UNSET
    unit: fields.Unit | UnsetType = UNSET
    resource: fields.Resource | UnsetType = UNSET
    amount: fields.ToldAmount

    def __post_init__(self) -> None:
        if type(self.amount) not in _NUMBERS:
            raise TypeError("amount must be a number")


class _Entry(Request, kw_only=True):
    user_id: fields.UserId
    event_type: fields.EventType
    amount: fields.PositiveAmount
    unit: fields.Unit
    resource: fields.Resource = None

    def __post_init__(self) -> None:
        # An amount may be of two types, which msgspec cannot say without taking strings as well.
        if type(self.amount) not in _NUMBERS:
            raise TypeError("amount must be a number")


class Allocate(_Entry, kw_only=True):
    """Add quota to an account."""

    idempotency_key: fields.IdempotencyKey = None
    event_time: fields.EventTime = None
    metadata: fields.Metadata = None


class Consume(Allocate, kw_only=True):
    """Charge an account in one step."""

    check_balance: Annotated[
        bool, Meta(description="Deny when less than the amount is available.", examples=[True])
    ] = False


class Adjust(_Entry, kw_only=True):
    """Correct an account, in either direction."""

    amount: fields.SignedAmount
    reference_id: fields.ReferenceId = None
    idempotency_key: fields.IdempotencyKey = None
    metadata: fields.Metadata = None


class Reserve(_Entry, kw_only=True):
    """Hold quota for a call whose cost is known only afterwards."""

    ttl_seconds: fields.Ttl = TTL_DEFAULT_SECONDS
    also: Annotated[list[AlsoLeg] | None, fields.ALSO] = None
    overage: fields.Overage = "allow"
    idempotency_key: fields.IdempotencyKey = None
    metadata: fields.Metadata = None


class Check(_Entry, kw_only=True):
    """Ask what a reserve would be told, and hold nothing."""

    also: Annotated[list[AlsoLeg] | None, fields.ALSO] = None


class Commit(Request, kw_only=True):
    """Charge what was really used and drop the hold."""

    actual_amount: fields.ActualAmount
    actuals: Annotated[list[ToldLeg] | None, fields.ACTUALS] = None
    metadata: fields.Metadata = None
    idempotency_key: fields.IdempotencyKey = None

    def __post_init__(self) -> None:
        if type(self.actual_amount) not in _NUMBERS:
            raise TypeError("actual_amount must be a number")


class Release(Request, kw_only=True):
    """Drop the hold without a charge."""

    idempotency_key: fields.IdempotencyKey = None


class Extend(Request, kw_only=True):
    """Lengthen or enlarge the hold, or both."""

    ttl_seconds: fields.NewTtl = None
    amount: fields.AddedAmount = None
    amounts: Annotated[list[ToldLeg] | None, fields.AMOUNTS] = None
    idempotency_key: fields.IdempotencyKey = None

    def __post_init__(self) -> None:
        if self.amount is not None and type(self.amount) not in _NUMBERS:
            raise TypeError("amount must be a number")


class _Period(Request, kw_only=True):
    user_id: fields.UserId
    event_type: fields.EventType
    unit: fields.Unit
    resource: fields.Resource = None


class SetPeriodConfig(_Period, kw_only=True):
    """Set what an account is given each period."""

    period_start: fields.FirstDay
    period_allocation: fields.PeriodAllocation
    carry_over_limit: fields.CarryOverLimit = None
    every: fields.Every = None
    time_zone: fields.TimeZone = None

    def __post_init__(self) -> None:
        if type(self.period_allocation) not in _NUMBERS:
            raise TypeError("period_allocation must be a number")
        if self.carry_over_limit is not None and type(self.carry_over_limit) not in _NUMBERS:
            raise TypeError("carry_over_limit must be a number")


class OpenPeriod(_Period, kw_only=True):
    """Open a period of an account."""

    period_start: fields.FirstDay
    allocation: fields.Allocation = None

    def __post_init__(self) -> None:
        if self.allocation is not None and type(self.allocation) not in _NUMBERS:
            raise TypeError("allocation must be a number")


class ClosePeriod(_Period, kw_only=True):
    """Close a period of an account."""

    period_end: fields.LastDay


class AllocateOperation(Allocate, tag_field="op", tag="allocate", kw_only=True):
    """Add quota to an account, as one of a batch."""


class ConsumeOperation(Consume, tag_field="op", tag="consume", kw_only=True):
    """Charge an account in one step, as one of a batch."""


class AdjustOperation(Adjust, tag_field="op", tag="adjust", kw_only=True):
    """Correct an account, as one of a batch."""


class ReserveOperation(Reserve, tag_field="op", tag="reserve", kw_only=True):
    """Make a hold, as one of a batch."""


class CommitOperation(Commit, tag_field="op", tag="commit", kw_only=True):
    """Charge and drop a hold, as one of a batch."""

    reservation_id: fields.ReservationId


class ReleaseOperation(Release, tag_field="op", tag="release", kw_only=True):
    """Drop a hold, as one of a batch."""

    reservation_id: fields.ReservationId


class ExtendOperation(Extend, tag_field="op", tag="extend", kw_only=True):
    """Lengthen or enlarge a hold, as one of a batch."""

    reservation_id: fields.ReservationId


Operation = (
    AllocateOperation
    | ConsumeOperation
    | AdjustOperation
    | ReserveOperation
    | CommitOperation
    | ReleaseOperation
    | ExtendOperation
)


class Batch(Request, kw_only=True):
    """Up to a thousand operations in one call. One bad operation never spoils the others."""

    operations: Annotated[list[Operation], Meta(extra_json_schema={"maxItems": OPERATIONS_MAX})]


class Nothing(Request, kw_only=True):
    """A request with nothing to say."""


class Reconcile(Request, kw_only=True):
    """Which accounts to compare, and whether to repair them."""

    repair: fields.Repair = False
    trust: fields.Trust = "ledger"
    deep: fields.Deep = False
    limit: fields.Limit = 1000
    cursor: fields.Cursor = None


class ReconciliationsQuery(Request, kw_only=True):
    """Which stored reconciles."""

    limit: fields.Limit = 100
    cursor: fields.Cursor = None


class _AccountQuery(Request, kw_only=True):
    user_id: fields.UserIdOrPool = None
    event_type: fields.EventType
    unit: fields.Unit
    resource: fields.Resource = None


class BalanceQuery(_AccountQuery, kw_only=True):
    """Which account, and as of when."""

    at: fields.At = None


class LimitsQuery(_AccountQuery, kw_only=True):
    """The limits of which account."""


class LimitQuery(_AccountQuery, kw_only=True):
    """Which limit of which account."""

    name: fields.LimitName


class SetLimit(Request, kw_only=True):
    """Set a limit of an account, or change the one of this name."""

    user_id: fields.UserId
    event_type: fields.EventType
    unit: fields.Unit
    resource: fields.Resource = None
    name: fields.LimitName
    per: fields.LimitPer
    limit: fields.LimitNumber
    window_seconds: fields.WindowSeconds = None
    shadow: fields.Shadow = False

    def __post_init__(self) -> None:
        if type(self.limit) not in _NUMBERS:
            raise TypeError("limit must be a number")


class BalancesQuery(Request, kw_only=True):
    """Whose accounts."""

    user_id: fields.UserIdOrPool = None


class LedgerQuery(_AccountQuery, kw_only=True):
    """Which entries of which account."""

    start_time: fields.StartTime = None
    end_time: fields.EndTime = None
    limit: fields.Limit = 100
    cursor: fields.Cursor = None


class NamespaceUsageQuery(Request, kw_only=True):
    """The usage of what time."""

    start_time: fields.UsageStart
    end_time: fields.UsageEnd


class UsageQuery(NamespaceUsageQuery, kw_only=True):
    """Whose usage, of what time."""

    user_id: fields.UserIdOrPool = None


class AccountQuery(_AccountQuery, kw_only=True):
    """Which account."""


class AuditEventsQuery(Request, kw_only=True):
    """Which actions of operators."""

    limit: fields.Limit = 100
    cursor: fields.Cursor = None


class ReservationsQuery(Request, kw_only=True):
    """Which holds."""

    status: fields.Status = None
    user_id: fields.UserIdOrAll = None
    limit: fields.Limit = 100
    cursor: fields.Cursor = None
