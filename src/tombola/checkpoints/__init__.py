"""Models in and out: hub, folders, GGUF, assets, shards, packed weights, zeros, ONNX, model cards."""
