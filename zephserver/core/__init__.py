"""Chapter one: the service manager.

It runs any services at all and has never heard of a WebSocket; it uses the standard library only. Read it in this
order: errors, events, bus, clock, lifecycle, service, service_manager, then settings, lock, logs, control, commands,
cluster, and last server and bootstrap, which put the parts together.
"""
