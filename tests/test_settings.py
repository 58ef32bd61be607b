"""The table of settings: every row, every problem at once, and no secret in sight."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.domain.hosts import is_loopback
from gateway.service_links import service_links
from gateway.settings import TABLE, Settings, SettingsError, settings_markdown, settings_rows

KEY = "qg_0123456789abcdef"


def problems_of(environ: dict[str, str], overrides: dict[str, object] | None = None) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ, overrides)
    return caught.value.problems


def test_defaults_are_those_of_an_empty_environment() -> None:
    settings = Settings.from_env({})
    assert settings == Settings()
    assert (settings.host, settings.port, settings.auth) == ("127.0.0.1", 8080, "auto")
    assert settings.redis_url is None
    assert settings.flusher is True


def test_every_default_is_within_its_own_bounds() -> None:
    for row in TABLE:
        if row.default is not None:
            assert row.read(str(row.default)) == row.default


def test_reads_each_type_from_text() -> None:
    settings = Settings.from_env(
        {
            "QUOTAGATE_REDIS_URL": "unix:///tmp/redis.sock?db=0",
            "QUOTAGATE_DATABASE_URL": "postgresql://quotagate@/quotagate?host=/tmp/run",
            "QUOTAGATE_DATA_DIR": " /srv/data ",
            "QUOTAGATE_PORT": "0",
            "QUOTAGATE_LOG_LEVEL": "WARNING",
            "QUOTAGATE_FLUSHER": "No",
            "HOME": "/root",
        }
    )
    assert settings.redis_url == "unix:///tmp/redis.sock?db=0"
    assert settings.database_url == "postgresql://quotagate@/quotagate?host=/tmp/run"
    assert settings.data_dir == Path("/srv/data")
    assert (settings.port, settings.log_level, settings.flusher) == (0, "warning", False)


def test_an_empty_variable_is_an_unset_one() -> None:
    assert Settings.from_env({"QUOTAGATE_REDIS_URL": "", "QUOTAGATE_PORT": " "}) == Settings()


def test_the_home_directory_is_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert Settings.from_env({"QUOTAGATE_DATA_DIR": "~/quota"}).data_dir == Path("/home/ada/quota")


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("PORT", "65536", "a whole number from 0 to 65535"),
        ("PORT", "-1", "a whole number from 0 to 65535"),
        ("PORT", "80.0", "a whole number from 0 to 65535"),
        ("PORT", "\u0661", "a whole number from 0 to 65535"),
        ("SETTLED_HOLD_SECONDS", "59", "a whole number from 60 to 86400"),
        ("AUTH", "maybe", "auto or keys or off"),
        ("LATE_COMMIT", "drop", "charge or refuse"),
        ("FLUSHER", "2", "true or false"),
        ("HOST", "a b", "an address or host name"),
        ("HOST", "[::1]", "an address or host name"),
        ("DATA_DIR", "~no-such-user-here/x", "a path"),
    ],
)
def test_a_value_out_of_bounds_names_variable_value_and_bounds(name: str, text: str, allowed: str) -> None:
    assert problems_of({f"QUOTAGATE_{name}": text}) == (f"QUOTAGATE_{name}={text}: must be {allowed}",)


def test_bounds_themselves_are_allowed() -> None:
    assert Settings.from_env({"QUOTAGATE_PORT": "65535"}).port == 65535
    assert Settings.from_env({"QUOTAGATE_SETTLED_HOLD_SECONDS": "60"}).settled_hold_seconds == 60


def test_all_problems_are_told_at_once() -> None:
    problems = problems_of(
        {
            "QUOTAGATE_PROT": "1",
            "QUOTAGATE_DRAIN_SECONDS": "soon",
            "QUOTAGATE_AUTH": "off",
            "QUOTAGATE_HOST": "0.0.0.0",
        }
    )
    assert len(problems) == 3
    assert "did you mean QUOTAGATE_PORT?" in problems[0]


@pytest.mark.parametrize("variable", ["QUOTAGATE_port", "QUOTAGATE_", "QUOTAGATE_WARP_DRIVE"])
def test_an_unknown_variable_is_an_error(variable: str) -> None:
    (problem,) = problems_of({variable: "1"})
    assert problem.startswith(f"{variable}: there is no such setting; ")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST"])
def test_auth_may_be_off_on_a_loopback_host(host: str) -> None:
    assert is_loopback(host)
    assert Settings.from_env({"QUOTAGATE_AUTH": "off", "QUOTAGATE_HOST": host}).auth == "off"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "127.0.0.1.example.org"])
def test_auth_may_not_be_off_elsewhere(host: str) -> None:
    (problem,) = problems_of({"QUOTAGATE_AUTH": "off", "QUOTAGATE_HOST": host})
    assert problem.startswith(
        f"QUOTAGATE_AUTH=off: is for a loopback address alone, and QUOTAGATE_HOST is {host};"
    )


def test_the_command_line_wins_and_is_checked_alike() -> None:
    environ = {"QUOTAGATE_AUTH": "off", "QUOTAGATE_PORT": "1"}
    assert Settings.from_env(environ, {"port": 9000, "host": None, "flusher": False}).port == 9000
    assert "QUOTAGATE_PORT=70000" in problems_of(environ, {"port": 70000})[0]
    assert "QUOTAGATE_HOST is 0.0.0.0" in problems_of(environ, {"host": "0.0.0.0"})[0]


@pytest.mark.parametrize(
    ("environ", "needed"),
    [
        ({}, False),
        ({"QUOTAGATE_API_KEY": KEY}, True),
        ({"QUOTAGATE_KEY_PEPPER": 2 * KEY}, True),
        ({"QUOTAGATE_KEY_PEPPER": 2 * KEY, "QUOTAGATE_HOST": "0.0.0.0"}, True),
        ({"QUOTAGATE_KEY_PEPPER": 2 * KEY, "QUOTAGATE_AUTH": "off"}, False),
        ({"QUOTAGATE_API_KEY": KEY, "QUOTAGATE_HOST": "0.0.0.0"}, True),
        ({"QUOTAGATE_API_KEY": KEY, "QUOTAGATE_AUTH": "keys"}, True),
        ({"QUOTAGATE_API_KEY": KEY, "QUOTAGATE_AUTH": "off"}, False),
        ({"QUOTAGATE_AUTH": "off", "QUOTAGATE_HOST": "::1"}, False),
    ],
)
def test_a_key_is_needed_unless_only_this_machine_can_call(environ: dict[str, str], needed: bool) -> None:
    assert Settings.from_env(environ).needs_key() is needed


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({"QUOTAGATE_AUTH": "keys", "QUOTAGATE_DATABASE_URL": "postgresql://x"}, "QUOTAGATE_AUTH=keys"),
        ({"QUOTAGATE_HOST": "0.0.0.0"}, "QUOTAGATE_HOST is 0.0.0.0, which others can reach,"),
    ],
)
def test_a_key_that_is_needed_must_be_set(environ: dict[str, str], why: str) -> None:
    (problem,) = problems_of(environ)
    assert problem.startswith(
        f"QUOTAGATE_API_KEY: is not set, and {why} needs it; or set QUOTAGATE_KEY_PEPPER "
    )


def test_an_embedded_ledger_brings_a_pepper_for_keys_that_are_asked_for_by_name() -> None:
    assert Settings.from_env({"QUOTAGATE_AUTH": "keys"}).needs_key()


def test_the_port_of_operators_is_another_one() -> None:
    (problem,) = problems_of({"QUOTAGATE_PORT": "9000", "QUOTAGATE_ADMIN_PORT": "9000"})
    assert problem.startswith("QUOTAGATE_ADMIN_PORT=9000: is QUOTAGATE_PORT;")


def test_the_ledger_remembers_keys_for_as_long_as_redis() -> None:
    environ = {"QUOTAGATE_IDEMPOTENCY_RETENTION_DAYS": "2", "QUOTAGATE_IDEMPOTENCY_WINDOW_SECONDS": "172800"}
    assert Settings.from_env(environ).idempotency_retention_days == 2
    (problem,) = problems_of(environ | {"QUOTAGATE_IDEMPOTENCY_WINDOW_SECONDS": "172801"})
    assert problem.startswith("QUOTAGATE_IDEMPOTENCY_RETENTION_DAYS=2: is shorter than ")


def test_secrets_are_never_shown() -> None:
    settings = Settings.from_env(
        {
            "QUOTAGATE_REDIS_URL": "rediss://app:p@ss:word@cache:6379/0",
            "QUOTAGATE_DATABASE_URL": "postgresql://db/ledger?user=app&password=hunter2&sslmode=require",
            "QUOTAGATE_API_KEY": "abc://" + KEY,
        }
    )
    shown = f"{settings!r} {settings} {settings_rows(settings)} {settings.__rich_repr__()}"
    for secret in ("p@ss", "word@", "hunter2", KEY, "abc"):
        assert secret not in shown
    assert "rediss://app:***@cache:6379/0" in shown
    assert "postgresql://db/ledger?user=app&password=***&sslmode=require" in shown


@pytest.mark.parametrize(
    ("name", "text"),
    [("API_KEY", "hunter2"), ("REDIS_URL", "hunter2"), ("REDIS_URL", "http://user:hunter2@host")],
)
def test_a_refused_secret_is_not_shown_either(name: str, text: str) -> None:
    (problem,) = problems_of({f"QUOTAGATE_{name}": text})
    assert "hunter2" not in problem
    assert "***" in problem


def test_settings_do_not_change() -> None:
    with pytest.raises(AttributeError):
        Settings().port = 1  # type: ignore[misc]


def test_variables_say_the_settings() -> None:
    for settings in (Settings(), Settings(port=1, flusher=False, data_dir=Path("/a b"), api_key="k" * 16)):
        assert Settings.from_env(settings.variables()) == settings


def test_the_table_for_people_has_a_line_for_each_setting() -> None:
    lines = settings_markdown().splitlines()
    assert len(lines) == 2 + len(TABLE)
    assert "| `QUOTAGATE_PORT` | `8080` | a whole number from 0 to 65535 | " in settings_markdown()
    assert "| `QUOTAGATE_API_KEY` | unset | " in settings_markdown()
    for row in TABLE:
        assert row.help.endswith(".")
        assert "|" not in row.allowed + row.help


def test_rows_show_what_is_set() -> None:
    rows = {variable: (value, default) for variable, value, default, _, _ in settings_rows(Settings(port=9))}
    assert rows["QUOTAGATE_PORT"] == ("9", "8080")
    assert rows["QUOTAGATE_FLUSHER"] == ("true", "true")
    assert rows["QUOTAGATE_API_KEY"] == ("", "")


KUBERNETES = {
    "QUOTAGATE_SERVICE_HOST": "10.0.0.1",
    "QUOTAGATE_SERVICE_PORT": "8080",
    "QUOTAGATE_SERVICE_PORT_HTTP": "8080",
    "QUOTAGATE_PORT": "tcp://10.0.0.1:8080",
    "QUOTAGATE_PORT_8080_TCP": "tcp://10.0.0.1:8080",
    "QUOTAGATE_PORT_8080_TCP_PROTO": "tcp",
    "QUOTAGATE_PORT_8080_TCP_PORT": "8080",
    "QUOTAGATE_PORT_8080_TCP_ADDR": "10.0.0.1",
    "QUOTAGATE_REDIS_SERVICE_HOST": "10.0.0.2",
    "QUOTAGATE_REDIS_SERVICE_PORT": "6379",
    "QUOTAGATE_REDIS_PORT": "tcp://[fd00::2]:6379",
    "QUOTAGATE_REDIS_PORT_6379_TCP": "tcp://10.0.0.2:6379",
}


def test_what_kubernetes_says_of_its_services_is_no_setting() -> None:
    assert Settings.from_env(KUBERNETES) == Settings()
    assert service_links(KUBERNETES) == sorted(KUBERNETES)
    assert Settings.from_env(KUBERNETES, {"port": 9000}).port == 9000


def test_what_only_looks_like_it_is_still_refused() -> None:
    environ = {
        "QUOTAGATE_PORT": "http://10.0.0.1:8080",
        "QUOTAGATE_REDIS_PORT": "6379",
        "QUOTAGATE_HOST": "tcp://10.0.0.1:8080",
        "QUOTAGATE_PORTS": "tcp://10.0.0.1:8080",
    }
    assert service_links(environ) == []
    assert len(problems_of(environ)) == 4
