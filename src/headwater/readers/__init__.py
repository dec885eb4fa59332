"""The one reading loop: group, assignment, batch, commit. Owners, projections and processes all run in it."""
