"""What the meter is made of: its verbs, and how they read arguments. No database is known here."""
