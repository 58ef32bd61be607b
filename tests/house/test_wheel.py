"""What is shipped: the built wheel holds the scripts, the SQL and the type marker, and no tests."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from modules import PACKAGES, ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Build the wheel and give the names in it."""
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = directory.glob("quotagate-*.whl")
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def shipped(pattern: str) -> set[str]:
    found = {path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern)}
    assert found, f"nothing is called {pattern}"
    return found


@pytest.mark.parametrize(
    "pattern",
    [
        "lua/*.lua",
        "lua/fragments/*.lua",
        "lua/manifest.txt",
        "persistence/sql/migrations/*.sql",
        "persistence/sql/queries/*.sql",
        "gateway/**/*.py",
        "persistence/**/*.py",
        "lua/__init__.py",
        "gateway/**/*.html",
        "gateway/**/*.css",
        "gateway/**/*.js",
        "gateway/py.typed",
    ],
)
def test_the_wheel_holds_what_runs(wheel: set[str], pattern: str) -> None:
    assert shipped(pattern) <= wheel


def test_the_wheel_holds_nothing_else(wheel: set[str]) -> None:
    tops = {Path(name).parts[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    assert not [name for name in wheel if "__pycache__" in name or "/test" in name]


def test_the_wheel_carries_the_license_and_the_command(wheel: set[str]) -> None:
    inside = {name.partition(".dist-info/")[2] for name in wheel}
    assert {"METADATA", "entry_points.txt", "licenses/LICENSE"} <= inside
