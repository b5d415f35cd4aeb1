"""The `sdpose` command: one file per subcommand."""
