"""The live view of `zephctl top`."""
