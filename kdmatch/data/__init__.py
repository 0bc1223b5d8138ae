"""Readers, validation and sampling of query-document rows: one Arrow schema, streamed."""
