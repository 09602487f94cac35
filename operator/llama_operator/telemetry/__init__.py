"""The names of every metric that a query, a rule or the autoscaler uses. Pure."""
