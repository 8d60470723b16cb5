"""What `zephctl doctor` looks at: one file for each place where trouble comes from."""
