"""Commands, replies and refusals as they go over the wire, and how long to wait for a reply."""
