"""The engine: text, image and video in, video out. It imports torch and never the host that may be around it.

Read the modules in the order of the design: grid, canvas, noise, flow, sampler, then the networks, then the pipeline.
"""

__version__ = "0.1.0"
