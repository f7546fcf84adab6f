"""Typed specs and statuses of the three kinds, and the records that CLM keeps. No I/O."""
