"""Every setting of Quotagate, in one table: the fields of ``Settings``. Reads an environment, never a file.

A field says all there is to say about a setting: its name, type, default, bounds and one line of help. The
environment variables, their checks, ``quotagate settings`` and the page in the documentation derive from it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args, get_type_hints

import msgspec

from gateway.domain.durability import Durability
from gateway.domain.hosts import is_loopback
from gateway.service_links import service_links
from gateway.setting_rules import Rule, mask_all
from gateway.setting_rules import path as _path
from gateway.setting_rules import text as _text
from gateway.setting_rules import truth as _truth
from gateway.setting_rules import url as _url
from gateway.setting_rules import whole as _whole
from gateway.setting_rules import word as _word

PREFIX = "QUOTAGATE_"
_DAY_S = 86_400
Auth = Literal["auto", "keys", "off"]
LateCommit = Literal["charge", "refuse"]
LogFormat = Literal["auto", "console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one process, and the table of all there are. ``from_env`` makes and checks them."""

    redis_url: Annotated[
        str | None,
        _url(("redis", "rediss", "unix"), "Redis or Valkey that decides. Unset: an embedded one is started."),
    ] = None
    database_url: Annotated[
        str | None,
        _url(("postgresql", "postgres"), "Postgres with the ledger. Unset: an embedded one is started."),
    ] = None
    redis_server: Annotated[
        Path | None, _path("Program of the embedded Redis or Valkey. Unset: the first one found.")
    ] = None
    postgres_bin: Annotated[
        Path | None, _path("Directory of the embedded Postgres's programs. Unset: the first one found.")
    ] = None
    data_dir: Annotated[
        Path | None,
        _path("Where the embedded servers keep their data. Unset: the platform's place for a user's data."),
    ] = None
    host: Annotated[str, _text(r"[^\s/\[\]]{1,255}", "an address or host name", "Address to listen on.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, _whole(0, 65535, "TCP port to listen on; 0 takes a free one.")] = 8080
    auth: Annotated[
        Auth, _word(Auth, "Whether callers need a key; auto: on a loopback host only if there is one.")
    ] = "auto"
    api_key: Annotated[
        str | None,
        _text("[!-~]{16,512}", "16 to 512 visible ASCII characters", "Key of namespace default.", mask_all),
    ] = None
    key_pepper: Annotated[
        str | None,
        _text(
            "[!-~]{32,512}",
            "32 to 512 visible ASCII characters",
            "Secret under which keys are kept in the ledger's database. The same in every process.",
            mask_all,
        ),
    ] = None
    key_cache_seconds: Annotated[
        int, _whole(1, 3600, "How long a key seen before goes on while Postgres cannot be asked, in seconds.")
    ] = 60
    admin_port: Annotated[
        int | None,
        _whole(0, 65535, "TCP port for /admin alone; 0 takes a free one. Unset: the port of the API."),
    ] = None
    log_level: Annotated[LogLevel, _word(LogLevel, "The least important messages to log.")] = "info"
    log_format: Annotated[
        LogFormat, _word(LogFormat, "How to log; auto is console on a terminal, else json.")
    ] = "auto"
    allow_volatile_redis: Annotated[
        bool, _truth("Whether a Redis may be used that evicts keys or persists nothing; a warning then.")
    ] = False
    flusher: Annotated[bool, _truth("Whether this process posts the journal to the ledger.")] = True
    flush_interval_ms: Annotated[
        int,
        _whole(1, 60_000, "How long a batch fills for the ledger, in milliseconds; under load up to thrice."),
    ] = 50
    flush_batch_entries: Annotated[
        int, _whole(1, 100_000, "How many journal entries the flusher posts at once.")
    ] = 2000
    idempotency_window_seconds: Annotated[
        int, _whole(1, 2_592_000, "How long Redis remembers an idempotency key and its answer, in seconds.")
    ] = 3600
    idempotency_retention_days: Annotated[
        int, _whole(1, 365, "How long the ledger remembers an idempotency key and its answer, in days.")
    ] = 30
    operation_retention_days: Annotated[
        int, _whole(1, 3650, "How long an operation recorded in SQL is kept after its answer, in days.")
    ] = 30
    ledger_retention_months: Annotated[
        int | None,
        _whole(1, 1200, "How many whole months of entries the ledger keeps before this one. Unset: all."),
    ] = None
    late_commit: Annotated[
        LateCommit, _word(LateCommit, "What becomes of a commit that comes after its hold expired.")
    ] = "charge"
    absent_ttl_seconds: Annotated[
        int, _whole(1, 3600, "How long it is remembered that an account does not exist, in seconds.")
    ] = 30
    settled_hold_seconds: Annotated[
        int, _whole(60, 86_400, "How long Redis remembers a settled hold, in seconds.")
    ] = 120
    idle_account_seconds: Annotated[
        int, _whole(60, 2_592_000, "How long an account must be idle before it leaves Redis, in seconds.")
    ] = 3600
    sweep_interval_ms: Annotated[
        int, _whole(10, 3_600_000, "How often expired holds are returned to idle accounts, in milliseconds.")
    ] = 1000
    overdue_hold_ms: Annotated[
        int,
        _whole(
            100,
            3_600_000,
            "How long after its time a hold is ended that the ledger still has open and Redis may have "
            "forgotten, in milliseconds; such holds are looked for as often.",
        ),
    ] = 10_000
    report_wait_ms: Annotated[
        int, _whole(0, 60_000, "How long a report waits for the ledger to catch up, in milliseconds.")
    ] = 2000
    reconcile_accounts_per_second: Annotated[
        int, _whole(0, 100_000, "How fast accounts are compared with the ledger in the background; 0: not.")
    ] = 50
    reconcile_interval_seconds: Annotated[
        int, _whole(1, 86_400, "The pause between two rounds over all accounts, in seconds.")
    ] = 60
    request_max_bytes: Annotated[
        int, _whole(1024, 67_108_864, "The longest request body that is read, in bytes.")
    ] = 1_048_576
    durability: Annotated[
        Durability,
        _word(Durability, "How durable a change is before it is answered, where the call does not say."),
    ] = "journal"
    replicas: Annotated[
        int, _whole(1, 100, "Replicas that must have a change, at the durability replicated.")
    ] = 1
    durability_timeout_ms: Annotated[
        int,
        _whole(1, 60_000, "How long a change may take to become as durable as asked, in milliseconds."),
    ] = 3000
    journal_max_entries: Annotated[
        int, _whole(1, 1_000_000_000, "Unposted journal entries at which writes are refused.")
    ] = 1_000_000
    journal_max_bytes: Annotated[
        int,
        _whole(
            4096,
            1_099_511_627_776,
            "Bytes of unposted journal entries of a shard at which writes are refused.",
        ),
    ] = 268_435_456
    kept_max_entries: Annotated[
        int,
        _whole(1, 100_000_000, "Entries kept until they are posted at which this process refuses writes."),
    ] = 250_000
    kept_max_bytes: Annotated[int, _whole(1024, 1 << 40, "The same in bytes of what the entries say.")] = (
        134_217_728
    )
    drain_seconds: Annotated[
        int, _whole(0, 3600, "How long a stopping process finishes what it has begun, in seconds.")
    ] = 10
    redis_timeout_ms: Annotated[
        int, _whole(10, 60_000, "How long Redis may take to answer, in milliseconds.")
    ] = 1000
    database_timeout_ms: Annotated[
        int, _whole(10, 60_000, "How long Postgres may take to answer a request, in milliseconds.")
    ] = 5000
    posting_timeout_ms: Annotated[
        int, _whole(100, 3_600_000, "How long each step of a posting may take Postgres, in milliseconds.")
    ] = 30_000
    database_pool_size: Annotated[
        int, _whole(2, 1000, "Connections to Postgres that this process keeps at most.")
    ] = 8

    @classmethod
    def from_env(cls, environ: Mapping[str, str], overrides: Mapping[str, Any] | None = None) -> Self:
        """Read the settings from an environment.

        An empty variable counts as unset, as compose files write it. What Kubernetes says of services whose
        names begin as ours is no setting (see service_links.py).

        Args:
            environ: the environment; only ``QUOTAGATE_…`` variables are looked at.
            overrides: values by field name that win over it, e.g. from the command line; None is no value.

        Returns:
            The settings, all within their bounds and fitting each other.

        Raises:
            SettingsError: names every variable that is unknown or out of bounds.
        """
        links = service_links(environ)
        given = {
            name: text.strip()
            for name, text in environ.items()
            if name.startswith(PREFIX) and name not in links
        }
        for name, value in (overrides or {}).items():
            if value is not None:
                given[variable_of(name)] = str(value)
        problems = [*_unknown(given)]
        values: dict[str, Any] = {}
        for row in TABLE:
            if text := given.get(row.variable):
                try:
                    values[row.name] = row.read(text)
                except (ValueError, LookupError, RuntimeError):
                    problems.append(f"{row.variable}={row.shown(text)}: must be {row.allowed}")
        settings = cls(**values)
        problems += settings.contradictions()
        if problems:
            raise SettingsError(problems)
        return settings

    def variables(self) -> dict[str, str]:
        """Give the environment variables that say these settings, secrets and all."""
        values = {row.variable: getattr(self, row.name) for row in TABLE}
        return {name: _written(value) for name, value in values.items() if value is not None}

    def needs_key(self) -> bool:
        """Whether callers must show a key."""
        if self.auth == "auto":
            return self._has_keys() or not is_loopback(self.host)
        return self.auth == "keys"

    def _has_keys(self) -> bool:
        return self.api_key is not None or self.key_pepper is not None

    def contradictions(self) -> Iterator[str]:
        """Yield a sentence for each pair of settings that cannot both be."""
        host = f"{PREFIX}HOST is {self.host}"
        if self.auth == "off" and not is_loopback(self.host):
            yield (
                f"{PREFIX}AUTH=off: is for a loopback address alone, and {host}; "
                f"listen on 127.0.0.1, or set {PREFIX}API_KEY and leave {PREFIX}AUTH alone"
            )
        # An embedded ledger keeps a pepper beside its data; asked for by name, that is as good as one set.
        has_own = self.auth == "keys" and self.database_url is None
        if self.needs_key() and not self._has_keys() and not has_own:
            why = f"{PREFIX}AUTH=keys" if self.auth == "keys" else f"{host}, which others can reach,"
            yield (
                f"{PREFIX}API_KEY: is not set, and {why} needs it; or set {PREFIX}KEY_PEPPER to a secret, "
                "the same in every process, and make keys with `quotagate keys create`"
            )
        if self.admin_port and self.admin_port == self.port:
            yield f"{PREFIX}ADMIN_PORT={self.admin_port}: is {PREFIX}PORT; leave it out to serve both there"
        if self.idempotency_window_seconds > self.idempotency_retention_days * _DAY_S:
            yield (
                f"{PREFIX}IDEMPOTENCY_RETENTION_DAYS={self.idempotency_retention_days}: is shorter than "
                f"{PREFIX}IDEMPOTENCY_WINDOW_SECONDS={self.idempotency_window_seconds}, and the ledger must "
                "remember a key for at least as long as Redis"
            )

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={shown!r}' for name, shown in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [(row.name, row.shown(getattr(self, row.name))) for row in TABLE]


class SettingsError(ValueError):
    """Settings that cannot be used; ``problems`` has a sentence for each, and the message has them all."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(["these settings cannot be used:", *(f"  {line}" for line in problems)]))
        self.problems = tuple(problems)


class Row(NamedTuple):
    """One line of the table of settings.

    Attributes:
        name: the field of ``Settings``.
        default: its value when nobody sets it.
        allowed: what it may be, for people.
        help: one sentence on what it does.
        read: makes its value of a text; ValueError, LookupError or RuntimeError when it may not be that.
        mask: hides what is secret in it where it is shown; None when nothing is.
    """

    name: str
    default: Any
    allowed: str
    help: str
    read: Callable[[str], Any]
    mask: Callable[[str], str] | None

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return variable_of(self.name)

    def shown(self, value: Any) -> str:
        """Show a value to people: nothing when unset, and a secret masked."""
        if value is None:
            return ""
        return self.mask(_written(value)) if self.mask else _written(value)


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def variable_of(name: str) -> str:
    """Return the environment variable of a setting, e.g. ``QUOTAGATE_REDIS_URL`` for ``redis_url``."""
    return PREFIX + name.upper()


def settings_rows(settings: Settings) -> list[tuple[str, str, str, str, str]]:
    """List variable, value, default, allowed and help of each setting, secrets masked."""
    return [
        (row.variable, row.shown(getattr(settings, row.name)), row.shown(row.default), row.allowed, row.help)
        for row in TABLE
    ]


def settings_markdown() -> str:
    """Render the table of settings as Markdown, for the documentation."""
    lines = ["| variable | default | allowed | what it does |", "|---|---|---|---|"]
    for row in TABLE:
        default = "unset" if row.default is None else f"`{row.shown(row.default)}`"
        lines.append(f"| `{row.variable}` | {default} | {row.allowed} | {row.help} |")
    return "\n".join(lines) + "\n"


def _unknown(given: Iterable[str]) -> Iterator[str]:
    known = [row.name for row in TABLE]
    for variable in given:
        name = variable.removeprefix(PREFIX).lower()
        if name not in known or variable != variable_of(name):
            near = difflib.get_close_matches(name, known, n=1)
            hint = (
                f"did you mean {variable_of(near[0])}?"
                if near
                else "`quotagate settings` lists all there are"
            )
            yield f"{variable}: there is no such setting; {hint}"


def _table() -> tuple[Row, ...]:
    hints = get_type_hints(Settings, include_extras=True)
    rows = []
    for field in msgspec.structs.fields(Settings):
        rule: Rule = get_args(hints[field.name])[1]
        rows.append(Row(field.name, field.default, rule.allowed, rule.help, rule.read, rule.mask))
    return tuple(rows)


TABLE = _table()
