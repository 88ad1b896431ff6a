"""The training jobs built on jaxmix."""
