"""The structured-concurrency kit every other room stands on; import its modules one by one, nothing is re-exported."""
