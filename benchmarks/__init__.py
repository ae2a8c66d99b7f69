"""Every figure that the documents state; each module prints one JSON object as its last line."""
