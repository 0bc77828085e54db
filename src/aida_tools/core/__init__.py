"""What every room stands on: errors, files, tables, names, configuration, options."""
