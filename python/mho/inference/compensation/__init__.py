"""Digital correction of drift."""
