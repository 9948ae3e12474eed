"""The compiled extension operations of aihwkit; not available yet."""

raise ImportError("mho.extension: extension operations are not available in this version of mho")
