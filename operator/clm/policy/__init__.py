"""Pure: a request and a Policy in, a decision with every violation out."""
