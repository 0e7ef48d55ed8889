"""The report: results (`inputs`) become figures (`machines`, `passes`, `recall`), drawn for a page or into files."""
