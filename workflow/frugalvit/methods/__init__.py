"""Methods: one room each, behind one contract."""
