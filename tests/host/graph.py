"""Write a workflow in API format as one writes code:

g = Graph()
model, clip, vae = g("SoraLoadModel", checkpoint="bundled").outputs(3)
text = g("CLIPTextEncode", clip=clip, text="a red ball")[0]
server.run(g.api)
"""

from __future__ import annotations


class Node:
    """A node of a graph; `node[0]` is its first output."""

    def __init__(self, name: str):
        self.name = name

    def __getitem__(self, slot: int) -> list:
        return [self.name, slot]

    def outputs(self, count: int) -> list[list]:
        return [self[slot] for slot in range(count)]


class Graph:
    """Nodes added so far, in API format, as `api`."""

    def __init__(self):
        self.api: dict[str, dict] = {}

    def __call__(self, kind: str, **inputs) -> Node:
        name = str(len(self.api) + 1)
        self.api[name] = {"class_type": kind, "inputs": inputs}
        return Node(name)


class Clip(Graph):
    """A graph with a model, a grid and two prompts: what nearly every test starts from."""

    def __init__(
        self, checkpoint: str, prompt="a red ball", *, width=64, height=48, frames=9, fps=8.0, batch=1, negative="blue"
    ):
        super().__init__()
        self.model, self.clip, self.vae = self("SoraLoadModel", checkpoint=checkpoint).outputs(3)
        self.latent, self.fps, *_ = self.grid(width, height, frames, fps, batch).outputs(5)
        self.positive = self("CLIPTextEncode", clip=self.clip, text=prompt)[0]
        self.negative = self("CLIPTextEncode", clip=self.clip, text=negative)[0]

    def grid(self, width, height, frames, fps=8.0, batch=1, **more) -> Node:
        size = {"size": "custom", "width": width, "height": height, "length": frames, "unit": "frames", "fps": fps}
        return self("SoraPatchGrid", **size, batch_size=batch, model=self.model, **more)

    def sample(self, model=None, latent=None, **changes) -> list:
        """SoraSampler's latent."""
        settings = {"seed": 3, "steps": 3, "cfg": 3.0, "solver": "euler", "shift": 0.0}
        settings |= {"cfg_from": 0.0, "cfg_to": 1.0, "cfg_rescale": 0.0}
        return self("SoraSampler", **(self._inputs(model, "latent", latent) | settings | changes))[0]

    def ksample(self, model=None, latent=None, **changes) -> list:
        """KSampler's latent."""
        settings = {"seed": 3, "steps": 3, "cfg": 3.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
        return self("KSampler", **(self._inputs(model, "latent_image", latent) | settings | changes))[0]

    def _inputs(self, model, name: str, latent) -> dict:
        prompts = {"positive": self.positive, "negative": self.negative}
        return {"model": model or self.model, **prompts, name: latent or self.latent}

    def keep(self, latent, name="latent") -> str:
        """SaveLatent; returns the node's name, for `latents`."""
        return self("SaveLatent", samples=latent, filename_prefix=name).name

    def images(self, latent, node="VAEDecode", **inputs) -> list:
        return self(node, samples=latent, vae=self.vae, **inputs)[0]

    def show(self, image, name="image") -> str:
        """SaveImage; returns the node's name, for `pictures`."""
        return self("SaveImage", images=image, filename_prefix=name).name
