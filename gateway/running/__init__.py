"""What runs as long as a gateway does: HTTP, its flusher, its watch over both databases, its chores."""
