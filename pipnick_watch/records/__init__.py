"""What lands on disk and survives: the file table, catalogues, CSVs, the night log, locks."""
