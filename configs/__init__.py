"""One file = one experiment; `common.base()` holds what they share."""
