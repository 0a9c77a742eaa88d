"""App: pages in a browser on this machine, where a person switches heads off and sees what a model does without."""
