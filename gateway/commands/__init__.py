"""What the commands of ``quotagate`` take, do and say, each beside its like. cli.py names them all."""
