"""The crash harness: kills the operator at every boundary, takes its dependencies away, then proves the promises."""
