"""What a user runs on trained models: the command line and its parts."""
