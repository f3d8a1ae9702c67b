"""The idea: components that compose, the record they read, how they are fitted."""
