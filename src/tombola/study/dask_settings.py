"""Settings of Dask that the scheduler of a study and its workers share."""

RARELY = {
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.tick.limit": "1h",
    "distributed.admin.system-monitor.interval": "10s",
}
"""With these a process that has nothing to do for Dask wakes seldom: steps have the cores."""
