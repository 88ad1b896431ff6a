"""One file, one experiment: `get_config(arg)` returns its ConfigDict."""
