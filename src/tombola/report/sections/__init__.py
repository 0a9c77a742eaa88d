"""What a study's page shows, a section each."""
