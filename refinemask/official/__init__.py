"""Official checkpoints (mmdetection 2 and 3): the file is read, then its configuration, then its weights.

``file`` reads tensors and plain metadata. ``stored_config`` parses the configuration in them, and ``settings`` and
``fixed_settings`` take it over or refuse it. ``classes`` finds names and ids. ``detector`` translates the weights key
by key, and ``other_models`` says what a checkpoint is that it cannot be.
"""
