"""What both kinds of clients have in common, and the client of one server."""
