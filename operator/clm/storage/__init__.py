"""Access to the two databases: pools, group commit, migrations, and one access layer each."""
