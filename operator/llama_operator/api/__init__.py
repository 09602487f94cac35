"""The contract with users: the resource's models, its conditions, and the schemas generated from them. Pure: values in, values out."""
