"""kopf handlers, one file a kind of resource, and the work queue that they feed."""
