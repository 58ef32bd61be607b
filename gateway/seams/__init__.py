"""What the rooms ask of each other beside the flow of one call (see protocols.py). No code runs here."""
