"""Measures Quotagate beside what a user would pick instead. Not shipped; no test asks for speed."""
