"""Benchmarks: how many certificates a second the whole path issues, and what it costs."""
