"""One search: data, module, run, reporting and export."""
