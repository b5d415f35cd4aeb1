"""Looking through poses, correcting them by hand, and going on with them (`sdpose review`)."""
