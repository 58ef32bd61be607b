"""Measures Quotagate beside what a user would pick instead. Nothing here is shipped, and no test asks for speed."""
