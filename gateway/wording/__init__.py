"""Decisions, reports and rows in the words of the API. Nothing is asked or decided here."""
