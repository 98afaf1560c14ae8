"""The embedded broker: one process, everything in memory."""
