"""The durable broker of one machine: history in an SQLite file that outlives the process."""
