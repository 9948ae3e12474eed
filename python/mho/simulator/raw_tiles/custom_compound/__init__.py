"""Raw tile of a `CustomCompound`: devices of the core, and a rule in Python between them."""
