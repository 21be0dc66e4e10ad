"""Procedural worlds: sample a scene, render it, describe it, score a video against it (data with a ground truth)."""
