"""What is seen while a sampler works: progress, the time left, and a preview in which the whole clip plays.

The host shows one frame of a clip, its page draws an animated picture as a still, and a picture that is sent with every
step would begin anew with every step. So the frames of the latest step are sent one after the other, at the clip's own
pace, as the host's ordinary preview messages: the clip plays on while a step is computed, in every front end and for
every client.
"""

from __future__ import annotations

import threading
import time

import comfy.utils
import latent_preview
from comfy_api.feature_flags import supports_feature
from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context
from protocol import BinaryEventTypes
from torch import Tensor

CELL = 32  # pixels that a latent cell is enlarged to at most: a small clip is sent small


class Playhead:
    """Which latent frame of a clip is on show: it runs by the clock and begins again at the end.

    As a latent format's `latent_rgb_factors_reshape` it makes the host's own previewer show that frame, not the first.

    Args:
        rate: latent frames per second.
    """

    def __init__(self, rate: float):
        self.rate = rate

    def frame(self, count: int) -> int:
        return int(time.monotonic() * self.rate) % count

    def rest(self) -> float:
        """Seconds until the next frame is due."""
        return (1 - time.monotonic() * self.rate % 1) / self.rate

    def __call__(self, x0: Tensor) -> Tensor:
        """(B, C, t, h, w) -> (B, C, 1, h, w)."""
        return x0[:, :, self.frame(x0.shape[2])].unsqueeze(2)


class Live:
    """A sampling callback (step, x0, x, steps) that shows how the sampling goes; used as a context manager, which ends
    the playing. Where previews are switched off, only progress and time go out.

    Args:
        model: whose latents are seen, a ModelPatcher.
        callback: the host's own, which shows progress and a picture at every step; None does both here.
    """

    def __init__(self, model, playhead: Playhead, callback=None):
        previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
        foreign = previewer is not None and type(previewer).__module__ != latent_preview.__name__
        if foreign and callback is None:
            callback = latent_preview.prepare_callback(model, 1)
        self.previewer = None if foreign else previewer  # one of another pack shows the clip by itself
        self.playhead, self.callback = playhead, callback
        self.bar = comfy.utils.ProgressBar(1) if callback is None else None
        self.server, self.node = _running()
        self.frames: list[tuple] = []  # as the host sends them: (format, image, longer side)
        self.shown: int | None = None  # of `frames`, on show
        self.done = self.total = 0
        self.start = self.first = time.monotonic()
        self.lock, self.ended, self.player = threading.Lock(), threading.Event(), None

    def __enter__(self) -> Live:
        return self

    def __exit__(self, error, *_) -> None:
        self.ended.set()
        if self.player is not None:
            self.player.join()
        if error is not None and self.done:
            self._say(f"stopped at step {self.done} of {self.total}")

    def __call__(self, step: int, x0: Tensor, x: Tensor, steps: int) -> None:
        frames = [] if self.previewer is None else [self._picture(x0[:1, :, i, None]) for i in range(x0.shape[2])]
        with self.lock:
            self.frames, self.done, self.total = frames, step + 1, steps
            self.shown = self.playhead.frame(len(frames)) if frames else None
            if self.bar is None:
                self.callback(step, x0, x, steps)
            else:  # also where the host interrupts
                self.bar.update_absolute(self.done, steps, frames[self.shown] if frames else None)
        if len(frames) > 1 and self.player is None and self.server is not None:
            self.player = threading.Thread(target=self._play, name="sora-preview", daemon=True)
            self.player.start()
        self._tell_time()

    def _picture(self, frame: Tensor) -> tuple:
        kind, image, side = self.previewer.decode_latent_to_preview_image("JPEG", frame)
        return kind, image, min(side, CELL * max(image.size))

    def _play(self) -> None:
        """Between the steps: each frame when it is due. The progress bar would not do here, for it is also where the
        host interrupts, and the sampler's thread has to hear of that."""
        while not self.ended.wait(self.playhead.rest()):
            with self.lock:
                due = self.playhead.frame(len(self.frames))
                if due == self.shown or self.ended.is_set():
                    continue
                self.shown = due
                get_progress_state().update_progress(self.node, self.done, self.total, self.frames[due])
                client = self.server.client_id
                if not supports_feature(self.server.sockets_metadata, client, "supports_preview_metadata"):
                    self.server.send_sync(BinaryEventTypes.UNENCODED_PREVIEW_IMAGE, self.frames[due], client)

    def _tell_time(self) -> None:
        """After the first step, which may load the model, it is known how long a step takes."""
        now = time.monotonic()
        if self.done == self.total:
            self._say(f"{self.total} steps in {clock(now - self.start)}")
        elif self.done == 1:
            self.first = now
        else:
            left = (now - self.first) / (self.done - 1) * (self.total - self.done)
            self._say(f"step {self.done} of {self.total}, {clock(left)} left")

    def _say(self, text: str) -> None:
        """A line on the node."""
        if self.server is not None:
            self.server.send_progress_text(text, self.node, self.server.client_id)


def _running() -> tuple:
    """(server, id of the node that is executed); (None, None) where the nodes are used without a server."""
    from server import PromptServer

    context, server = get_executing_context(), getattr(PromptServer, "instance", None)
    return (None, None) if context is None or server is None else (server, context.node_id)


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any: 0:07, 12:30, 1:02:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
