"""From the model's matches and targets to the core's predicates and actions; one small file a family of extensions."""
