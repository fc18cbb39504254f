"""Operator state: blocks of Arrow rows in memory or RocksDB, and the window panes made of them."""
