"""Immutable maps and sets: static functions, static tables and ribbon filters.

A map is built in one direction. `batch` reads keys and values, with `values`, `value_kind` and `dictionary`.
`blueprint` then sorts the keys by their hashes (`shards`), counts the values and chooses their codes
(`column`), solves each shard (`ribbon`), and returns the arrays. `function` and `table` are the maps,
`ribbon_filter` is the set; `map` and `structure` store the arrays and look keys up. `builder` builds a
function from many batches, which `gathered` and `records` collect.
"""
