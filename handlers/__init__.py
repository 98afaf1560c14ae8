"""HTTP and WebSocket at the edge: thin modules that translate between the wire and the node."""
