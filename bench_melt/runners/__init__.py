"""Programs that run models, as processes of a machine."""
