"""Reading files of version 0, which stay readable: `docs/format-v0.md`."""
