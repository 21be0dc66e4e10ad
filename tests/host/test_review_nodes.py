"""Sora Loop Seam, Drift Curve and Compare Videos show on the node what the engine draws of the same frames."""

import numpy as np
import pytest
import torch

from sora_core import review
from sora_core.batch.client import WorkflowError
from sora_core.video import VideoWriter, read_frames
from tests.host.conftest import to_array
from tests.host.graph import Graph

FPS = 8


@pytest.fixture
def video_in(server, tmp_path):
    """(name, frames, width, height) -> (name under which LoadVideo finds it, the frames as they are in the file)."""

    def put(name: str, frames: int, width=48, height=32) -> tuple[str, list[torch.Tensor]]:
        path, random = tmp_path / f"{name}.mp4", torch.Generator().manual_seed(frames)
        with VideoWriter(path, width, height, FPS) as writer:
            for _ in range(frames):
                corners = torch.rand(1, 3, 4, 4, generator=random) * 2 - 1
                writer.write(torch.nn.functional.interpolate(corners, (height, width), mode="bilinear")[0])
        return server.upload(path), list(read_frames(path))

    return put


def test_each_shows_the_engines_picture(server, video_in):
    (first, a), (second, b) = video_in("a", 24), video_in("b", 16, 64, 64)
    g = Graph()
    first, second = (g("LoadVideo", file=name)[0] for name in (first, second))
    parts = g("GetVideoComponents", video=first)
    held = g("CreateVideo", images=parts[0], fps=float(FPS))[0]  # in memory, as the host reads the file
    wanted = {
        g("SoraLoopSeam", video=first).name: review.loop_seam(a),
        g("SoraDriftCurve", video=first).name: review.drift(a, FPS),
        g("SoraCompareVideos", first=first, second=second).name: review.compare(a, b, FPS, FPS),
    }
    of_held = [g("SoraLoopSeam", video=held).name, g("SoraCompareVideos", first=held, second=held).name]
    result = server.run(g.api)
    same = review.compare(a, a, FPS, FPS)
    for node, picture in zip(of_held, (review.loop_seam(a), same), strict=True):
        (item,) = result.outputs[node]["images"]
        assert to_array(server.fetch(item)).shape == (*picture.shape[1:], 3)
    for node, picture in wanted.items():
        (item,) = result.outputs[node]["images"]
        assert item["type"] == "temp"
        shown = to_array(server.fetch(item)).astype(int)
        drawn = ((picture + 1) * 127.5).round().permute(1, 2, 0).numpy()
        assert shown.shape == drawn.shape and np.abs(shown - drawn).max() <= 1, g.api[node]["class_type"]


@pytest.mark.parametrize(
    ("node", "said"), [("SoraLoopSeam", "three frames or more, and this video has 1"), ("SoraDriftCurve", "two frames")]
)
def test_a_video_of_one_frame_is_refused(server, video_in, node, said):
    name, _ = video_in("one", 1)
    g = Graph()
    g(node, video=g("LoadVideo", file=name)[0])
    with pytest.raises(WorkflowError, match=said):
        server.run(g.api)
