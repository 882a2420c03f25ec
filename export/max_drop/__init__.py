"""Accuracy by choice: which layers stay in higher precision for a quantised file to lose no more AP than allowed."""
