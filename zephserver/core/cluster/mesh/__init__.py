"""The engine without a broker: every server speaks to every other one over ZeroMQ."""
