"""What a GPU makes of the engine: ``scripts/bench_gpu.py``. Needs torch, scikit-learn and PyYAML, and no Hydra."""
