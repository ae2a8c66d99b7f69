"""Report: pictures, tables and self-contained pages for people; nothing here computes a result."""
