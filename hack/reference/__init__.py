"""Makes the pages of docs/ that are not written by hand, from a migrated database and from the code."""
