"""The command line: a command parses, calls one function, prints one report, returns a code."""
