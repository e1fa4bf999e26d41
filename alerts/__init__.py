"""Rules, lifecycle, grouping and delivery: from what is observed to what people are told."""
