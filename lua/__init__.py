"""Package data: the scripts that decide. No Python lives here."""
