"""The engine for servers that meet at a NATS server: any number of them, which need not know each other."""
