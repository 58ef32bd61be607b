"""Compares Redis with the ledger while traffic runs, and orders repairs. No database is known here."""
