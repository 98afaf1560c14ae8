"""The bytes of each wire format. Pure: no loop, no sockets, no clock."""
