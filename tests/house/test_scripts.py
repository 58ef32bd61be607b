"""``./demo`` and ``./test`` install into an environment that fits. Python only notes here what it is told."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_PYTHON = """\
#!/bin/sh
echo "$@" >> "$NOTES"
case "$0 $2" in
  .venv/*sys.exit*) exit "${MADE_TOO_OLD:-0}" ;;
  .venv/*print*) echo "${MADE_OF:-3 11}" ;;
  *print*) echo 3 11 ;;
esac
[ "$1 $2" = "-m venv" ] || exit 0
mkdir -p .venv/bin
for name in python ruff mypy quotagate; do cp "$0" .venv/bin/$name; done
echo "#!$(pwd -P)/.venv/bin/python" > .venv/bin/pip
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with nothing in it but the scripts, and the Python that makes its environment."""
    place = tmp_path / "a clone"
    place.mkdir()
    for name in ("demo", "test", "pyproject.toml"):
        shutil.copy2(ROOT / name, place)
    python = tmp_path / "python"
    python.write_text(_PYTHON, encoding="ascii")
    python.chmod(0o755)
    for package in ("redis-server", "chromium"):
        shutil.copy2(python, tmp_path / package)  # so that ./test need not install it
    return place


def made_environment(clone: Path, script: str, **said: str) -> bool:
    notes = clone.parent / "notes"
    notes.write_text("", encoding="ascii")
    settings = {
        "PATH": f"{clone.parent}:/usr/bin:/bin",
        "PYTHON": str(clone.parent / "python"),
        "NOTES": str(notes),
        **said,
    }
    subprocess.run([f"./{script}"], cwd=clone, env=settings, check=True, capture_output=True, timeout=60)
    return "-m venv --clear .venv" in notes.read_text(encoding="ascii")


@pytest.mark.parametrize("script", ["demo", "test"])
def test_an_environment_is_made_once_and_again_where_the_clone_was_moved(clone: Path, script: str) -> None:
    assert made_environment(clone, script)
    assert not made_environment(clone, script)
    moved = clone.rename(clone.parent / "elsewhere")
    assert made_environment(moved, script)
    assert not made_environment(moved, script)


@pytest.mark.parametrize("script", ["demo", "test"])
def test_an_environment_whose_python_is_gone_is_made_anew(clone: Path, script: str) -> None:
    assert made_environment(clone, script)
    (clone / ".venv/bin/python").unlink()
    assert made_environment(clone, script)


@pytest.mark.parametrize("script", ["demo", "test"])
def test_an_environment_of_a_python_too_old_is_made_anew(clone: Path, script: str) -> None:
    assert made_environment(clone, script)
    assert made_environment(clone, script, MADE_TOO_OLD="1")


@pytest.mark.parametrize("script", ["demo", "test"])
def test_the_python_that_was_asked_for_is_the_environments(clone: Path, script: str) -> None:
    assert made_environment(clone, script)
    assert made_environment(clone, script, MADE_OF="3 12")
    (clone.parent / "python").rename(clone.parent / "python3")
    assert not made_environment(clone, script, MADE_OF="3 12", PYTHON="")  # nobody asked
