"""The scripts here run in processes of their own; `--doctest-modules` must not import them."""

collect_ignore = ["export_with_tensorflow.py", "train_without_tensorflow.py"]
