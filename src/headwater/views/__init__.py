"""Views: read models written in SQL, maintained from the log by changes only.

`plan` says what a view is once its statement has been understood; everything else in this room either makes a
plan from a text or runs one.
"""
