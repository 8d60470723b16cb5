"""The view of `zephctl dev` on a terminal."""
