"""The commands of `lpu`, one module each; `options` holds what they share, `lpu.tools.cli` puts them together."""
