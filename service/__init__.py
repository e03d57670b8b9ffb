"""The API: watches a model repository, loads the newest valid version, answers predictions over HTTP."""
