"""What `zephctl bench` starts, and how it tells what was measured."""
