"""What the engines with a broker have in common: numbers, membership, large events, the thread."""
