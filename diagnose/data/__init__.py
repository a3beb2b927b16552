"""Data modules that the command line offers."""
