"""A recipe for a user's own data, filled in and commented, to run as it stands and to be changed."""
