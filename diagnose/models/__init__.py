"""Models that the command line offers."""
