"""What goes over the wire, as bytes and typed bodies; no sockets."""
