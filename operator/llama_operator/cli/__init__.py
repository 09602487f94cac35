"""`kubectl llama`: what the operator would say, without a cluster.

    main ─▶ plan | validate | simulate | catalog, each imported when it is asked for ─▶ text, JSON or YAML, and an exit status

Whatever is wrong with a question is a line on the standard error that names the option or field, and exit status 1.
"""
