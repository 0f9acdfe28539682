"""``polyalign show``."""
