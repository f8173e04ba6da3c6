"""PNGs and the page."""
