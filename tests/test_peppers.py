"""The pepper of an embedded ledger: made once, kept for its owner alone, never guessed at."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.embedded import with_pepper
from gateway.running.peppers import kept_pepper
from gateway.settings import Settings, SettingsError


def test_it_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    pepper = kept_pepper(tmp_path)
    assert len(pepper) == 64
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert kept_pepper(tmp_path) == pepper
    assert kept_pepper(_directory(tmp_path / "other")) != pepper


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_one_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    kept_pepper(tmp_path)
    (tmp_path / "key_pepper").chmod(mode)
    with pytest.raises(SettingsError, match="others can read it"):
        kept_pepper(tmp_path)


@pytest.mark.parametrize("text", ["", "short\n", "x" * 600])
def test_one_that_is_none_is_refused_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key_pepper"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="no key fits it"):
        kept_pepper(tmp_path)
    assert path.read_text() == text


def test_that_there_is_one_does_not_say_that_keys_are_needed(tmp_path: Path) -> None:
    assert not with_pepper(Settings(), tmp_path).needs_key()
    assert with_pepper(Settings(auth="keys"), tmp_path).needs_key()
    assert with_pepper(Settings(), tmp_path).key_pepper == kept_pepper(tmp_path)
    own = Settings(key_pepper="p" * 32)
    assert with_pepper(own, tmp_path) is own


def _directory(path: Path) -> Path:
    path.mkdir()
    return path
