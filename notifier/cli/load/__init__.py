"""Many WebSockets and a few that publish, in one loop over raw sockets: what ``bench`` is made of.

The first socket that gets a byte of the channel's stream keeps it, and it is read; what the others
get is compared with it, byte for byte.
"""
