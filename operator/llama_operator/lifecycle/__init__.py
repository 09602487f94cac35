"""What to do next with one LlamaDeployment: a frozen snapshot in, actions and a status out. Pure."""
