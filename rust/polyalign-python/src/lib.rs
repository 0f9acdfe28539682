//! Python binding of polyalign: converts arguments, releases the GIL, maps errors; no logic.
