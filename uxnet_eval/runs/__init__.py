"""What a run leaves on disk: its folder, files, records and overlays."""
