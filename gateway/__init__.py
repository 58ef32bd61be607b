"""Quotagate: decides whether a call may spend quota, holds it while the call runs, books what was used."""
