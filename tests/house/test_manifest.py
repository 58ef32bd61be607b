"""The scripts are pinned: whoever changes a line of lua/ shows it here."""

from __future__ import annotations

import hashlib
import subprocess
import sys

from modules import ROOT

from gateway.store.scripts import joined, manifest, scripts, shebang_of, verbs

RENEW = "python -m gateway.store > lua/manifest.txt"


def test_the_manifest_is_that_of_the_scripts() -> None:
    written = (ROOT / "lua" / "manifest.txt").read_text(encoding="utf-8")
    assert written == manifest(), f"the scripts have changed; if that is meant, renew with: {RENEW}"


def test_the_renewing_command_prints_the_manifest() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "gateway.store"], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert found.stdout == manifest()


def test_each_script_is_known_by_the_hash_of_what_is_sent() -> None:
    for shebang in (True, False):
        for verb, script in scripts(shebang=shebang).items():
            assert script.text == (shebang_of(verb) if shebang else "") + joined(verb)
            assert script.sha == hashlib.sha1(script.text.encode(), usedforsecurity=False).hexdigest()
    assert [line.split("  ")[1] for line in manifest().splitlines()] == verbs()
