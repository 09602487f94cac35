"""What fits where: the model's shape against the spec's parallelism, and the gang's pods against the nodes. Pure: values in, values out."""
