"""What a device is made to do: train, infer, prove that it computes what the simulator does."""
