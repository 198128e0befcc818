"""The demonstration: a net that knows seven gestures learns a new wearer's on the device."""
