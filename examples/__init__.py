"""Programs that use headwater. Each runs as it stands."""
