"""Where the cycles of a pass go: by op class and engine, as tables and as a timeline page."""
