"""Settings of an example without any web: two services, one of which needs the other."""

SERVICE_LIST = [
    "workers/Counter",
    "workers/Reporter",
]

SERVICE_OPTIONS = {
    "workers/Reporter": {"requires": ["workers/Counter"], "restart": "always"},
}
