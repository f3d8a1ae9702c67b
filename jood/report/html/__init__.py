"""One HTML file that works without a network: its blocks and its templates."""
