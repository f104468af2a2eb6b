"""What a training leaves behind and shows: its settings, log, curves, lines and summary."""
