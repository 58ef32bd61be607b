"""Prints what lua/manifest.txt must say: ``python -m gateway.store > lua/manifest.txt`` renews it."""

import sys

from gateway.store.scripts import manifest

sys.stdout.write(manifest())
