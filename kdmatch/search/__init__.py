"""The search of loss weights and training settings: KerasTuner over a sample of the queries."""
