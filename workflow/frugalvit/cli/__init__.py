"""The command `frugalvit`: a file a command, each thin over the library."""
