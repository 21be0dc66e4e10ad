"""The nodes, one file per verb of the artist; `host/` is the only place that knows the host's internals."""

from comfy_api.latest import ComfyExtension, io

from .animate import SoraAnimateImage
from .edit import SoraEditVideo, SoraRefine, SoraReframe
from .extend import SoraConnectVideos, SoraExtendVideo, SoraLoopVideo
from .grid import SoraPatchGrid
from .inspect import SoraCompareVideos, SoraDriftCurve, SoraInspectCanvas, SoraLoopSeam
from .join import SoraJoinVideos
from .latents import SoraLoadLatent
from .load import SoraLoadModel
from .place import SoraPlaceFrames
from .sample import SoraSampler
from .timeline import SoraPromptTimeline
from .video import SoraDecodeToVideo, SoraEncodeVideo

NODES: list[type[io.ComfyNode]] = [
    SoraLoadModel,
    SoraPatchGrid,
    SoraAnimateImage,
    SoraSampler,
    SoraPlaceFrames,
    SoraExtendVideo,
    SoraLoopVideo,
    SoraConnectVideos,
    SoraEditVideo,
    SoraReframe,
    SoraRefine,
    SoraPromptTimeline,
    SoraJoinVideos,
    SoraInspectCanvas,
    SoraEncodeVideo,
    SoraDecodeToVideo,
    SoraLoadLatent,
    SoraLoopSeam,
    SoraDriftCurve,
    SoraCompareVideos,
]
"""Node ids and the order of their inputs are a contract with saved workflows: append, never reorder, never delete."""


class SoraExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES
