"""Networks made from a configuration alone, trained from nothing."""
