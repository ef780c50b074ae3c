"""Regression from counters: STORM and its estimators."""
