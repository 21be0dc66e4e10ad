"""Films through a VAE of the host piece by piece, so that memory follows the piece and not the film.

Three ways, by what the VAE is:

- Ours: one latent frame at a time, exact.
- Wan kind (Wan 2.1, Wan 2.2): the host feeds its network a few latent frames at a time and carries a feature cache from
  piece to piece, but holds the whole film around that loop. Here the same pieces go through the same cache, so the
  result is the whole pass, bit for bit. How the host cuts a film up differs between its versions: it is watched once on
  a clip of a few pixels.
- Any other: windows of `WINDOW` latent frames that share `OVERLAP`, blended linearly over the shared frames, as the
  host's tiled decoding does in time. Such networks look at the whole clip (normalisation over time, attention, filters
  that are not causal), so this is near the whole pass, not equal to it; a film that fits one window is equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

import comfy.ldm.wan.vae
import comfy.ldm.wan.vae2_2
import comfy.model_management
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...sora_core.errors import UserError
from ...sora_core.grid import Geometry, Grid
from .codec import HostVAE, tile_for
from .geometry import geometry_of
from .latents import grid_of

WINDOW = 12  # latent frames
OVERLAP = 4  # latent frames: the first of a window stands for one frame and is left out, the others are blended


def decode_stream(vae, latent: dict) -> Iterator[Tensor]:
    """A LATENT as frames, the clips of a batch one after the other.

    Yields:
        (n, height, width, 3) in [0, 1], float32 on the CPU; together exactly the frames that the grid asks for.

    Raises:
        UserError: the latent is not this VAE's, or holds values that are not finite.
    """
    grid, samples = grid_of(latent, geometry_of(vae), patch_known=False), latent["samples"]
    if samples.shape[1] != grid.geometry.channels:
        raise UserError(
            f"This latent has {samples.shape[1]} channels and the VAE decodes {grid.geometry}: use its own VAE."
        )
    if not torch.isfinite(samples).all():
        raise UserError("The latent holds values that are not finite (NaN or infinity): sample it again.")
    for one in samples.split(1):
        left, lead_in = grid.frames, 0
        if grid.cyclic:
            one, lead_in = _led_in(vae, one, grid)
        for frames in _decoded(vae, one):
            frames, lead_in = frames[lead_in:], max(0, lead_in - len(frames))
            part = frames[:left, : grid.height, : grid.width, :3].float().cpu()
            left -= len(part)
            yield part
            if left == 0:
                break


def _led_in(vae, samples: Tensor, grid: Grid) -> tuple[Tensor, int]:
    """A loop with as much of its end before its start as the decoder looks back at, and the frames that this makes: so
    the last frame leads to the first. As in `Codec.frames`; exact for ours."""
    memory = vae.first_stage_model.config.decoder_memory if isinstance(vae, HostVAE) else WINDOW
    before = [t % samples.shape[2] for t in range(-memory, 0)]
    return torch.cat([samples[:, :, before], samples], dim=2), grid.geometry.frames(memory)


def encode_stream(vae, frames: Iterable[Tensor]) -> Tensor:
    """Frames (n, height, width, 3) in [0, 1], in pieces of any length, as the samples of a LATENT: (1, C, t, h, w).

    A film whose length is not 1 + stride * k is continued by its last frame, a picture that is no whole cells by its
    border.

    Raises:
        UserError: there is no frame.
    """
    geometry = geometry_of(vae)
    whole = (whole_cells(part, geometry) for part in frames)
    parts = [part.float().cpu() for part in _encoded(vae, _whole_groups(_frames_of(whole), geometry.t_stride))]
    if not parts:
        raise UserError("There is no frame to encode: choose a range that the video has.")
    return torch.cat(parts, dim=2)


def whole_cells(images: Tensor, geometry: Geometry) -> Tensor:
    """(n, height, width, 3) with its border repeated until both sides are whole cells, of which a VAE of the host would
    cut off the rest."""
    high, wide = (-side % geometry.s_stride for side in images.shape[1:3])
    if not high and not wide:
        return images
    return F.pad(images.movedim(-1, 1), (0, wide, 0, high), mode="replicate").movedim(1, -1)


class Encoder:
    """A VAE of the host as what the engine takes clips to: see `sora_core.join`."""

    def __init__(self, vae):
        self.vae, self.geometry = vae, geometry_of(vae)

    def encode(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) in [-1, 1] -> (B, C, t, h, w)."""
        clips = ((clip.movedim(0, -1) + 1) / 2 for clip in video)
        return torch.cat([encode_stream(self.vae, [clip]) for clip in clips])


def _frames_of(chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    for chunk in chunks:
        yield from chunk.split(1)


def _whole_groups(frames: Iterator[Tensor], stride: int) -> Iterator[Tensor]:
    """One frame, then groups of `stride`; the last frame fills up the last group."""
    group: list[Tensor] = []
    wanted = 1
    for frame in frames:
        group.append(frame)
        if len(group) == wanted:
            yield torch.cat(group)
            group, wanted = [], stride
    if group:
        yield torch.cat(group + group[-1:] * (wanted - len(group)))


def _decoded(vae, samples: Tensor) -> Iterator[Tensor]:
    if isinstance(vae, HostVAE):
        return _decoded_by_ours(vae, samples)
    if is_wan(vae):
        return _decoded_by_wan(vae, samples)
    return _decoded_in_windows(vae, samples)


def _encoded(vae, groups: Iterator[Tensor]) -> Iterator[Tensor]:
    if isinstance(vae, HostVAE):
        return _encoded_by_ours(vae, groups)
    if is_wan(vae):
        return _encoded_by_wan(vae, groups)
    return _encoded_in_windows(vae, groups)


def is_wan(vae) -> bool:
    return isinstance(vae.first_stage_model, (comfy.ldm.wan.vae.WanVAE, comfy.ldm.wan.vae2_2.WanVAE))


# --------------------------------------------------------------------------------------------------- what all ways need


def _load(vae, memory: float) -> None:
    comfy.model_management.load_models_gpu(
        [vae.patcher], memory_required=memory, force_full_load=getattr(vae, "disable_offload", False)
    )


def _images(vae, video: Tensor) -> Tensor:
    """(1, 3, n, H, W) of a network -> (n, H, W, 3), as the host's VAE.decode ends."""
    dtype = vae.vae_output_dtype() if hasattr(vae, "vae_output_dtype") else torch.float32
    return vae.process_output(video.to(vae.output_device, dtype, copy=True))[0].movedim(0, -1)


def _video(vae, images: Tensor) -> Tensor:
    """(n, H, W, 3) -> (1, 3, n, H, W) for a network, as the host's VAE.encode begins."""
    pixels = vae.vae_encode_crop_pixels(images).movedim(-1, 0).unsqueeze(0)
    return vae.process_input(pixels).to(vae.vae_dtype).to(vae.device)


# ----------------------------------------------------------------------------------------------------------------- ours


def _decoded_by_ours(vae: HostVAE, samples: Tensor) -> Iterator[Tensor]:
    _load(vae, vae.memory_used_decode(samples.shape, vae.vae_dtype))
    latents = samples.to(vae.device, vae.vae_dtype).split(1, dim=2)
    for video in vae.first_stage_model.decode_stream(latents, tile=tile_for(*samples.shape[-2:])):
        yield _images(vae, video)


def _encoded_by_ours(vae: HostVAE, groups: Iterator[Tensor]) -> Iterator[Tensor]:
    state: dict = {}
    for images in groups:
        video = _video(vae, images)
        if not state:
            _load(vae, vae.memory_used_encode(video.shape, vae.vae_dtype))
        tile = tile_for(*(-(-side // vae.geometry.s_stride) for side in video.shape[-2:]))
        yield vae.first_stage_model.encode(video, state=state, tile=tile)


# ------------------------------------------------------------------------------------------------------------- Wan kind


@dataclass(frozen=True)
class Pieces:
    """How the host cuts a film up for the encoder or decoder of a Wan VAE.

    The first piece has one frame, the later ones `length`. The arguments are those of the host's own calls, for the
    first piece, those in the middle and the last; `slots` is the length of the feature cache.
    """

    length: int
    slots: int
    arguments: tuple[dict, dict, dict]

    def split(self, film: Iterable[Tensor]) -> Iterator[tuple[Tensor, dict]]:
        """Pieces (1, C, t, h, w) of any lengths -> the host's, each with its arguments.

        One is held back, for only its successor tells that it was not the last.
        """
        first, middle, last = self.arguments
        held, arguments = None, first
        for piece in self._cut(film):
            if held is not None:
                yield held, arguments
                arguments = middle
            held = piece
        if held is not None:
            yield held, first if arguments is first else last

    def _cut(self, film: Iterable[Tensor]) -> Iterator[Tensor]:
        waiting: list[Tensor] = []
        wanted = 1
        for part in film:
            for frame in part.split(1, dim=2):
                waiting.append(frame)
                if len(waiting) == wanted:
                    yield torch.cat(waiting, dim=2)
                    waiting, wanted = [], self.length
        if waiting:
            yield torch.cat(waiting, dim=2)


def watch(network: nn.Module, run: Callable[[], object]) -> Pieces:
    """Run the host's own loop on a small clip and note how it calls the network (an encoder or decoder)."""
    calls: list[tuple[int, dict]] = []

    def note(_, args, kwargs):
        calls.append((args[0].shape[2], dict(kwargs)))

    handle = network.register_forward_pre_hook(note, with_kwargs=True)
    try:
        run()
    finally:
        handle.remove()
    first, middle, last = calls[0], calls[1], calls[-1]
    if first[0] != 1 or any(count != middle[0] for count, _ in calls[1:]):
        raise UserError("This ComfyUI cuts films up for the Wan VAE in a way that this pack does not know: update it.")
    arguments = tuple(
        {name: value for name, value in call[1].items() if name not in ("feat_cache", "feat_idx")}
        for call in (first, middle, last)
    )
    return Pieces(middle[0], len(middle[1]["feat_cache"]), arguments)


def _through(network: nn.Module, film: Iterable[Tensor], pieces: Pieces) -> Iterator[Tensor]:
    """The film through an encoder or decoder with a feature cache that lasts as long as the film."""
    cache = [None] * pieces.slots
    for piece, arguments in pieces.split(film):
        out = network(piece, feat_cache=cache, feat_idx=[0], **arguments)
        if out is not None:  # an encoder may wait for more frames
            yield from out if isinstance(out, list) else [out]


def _decoded_by_wan(vae, samples: Tensor) -> Iterator[Tensor]:
    one_frame = (*samples.shape[:2], 1, *samples.shape[3:])
    _load(vae, vae.memory_used_decode(one_frame, vae.vae_dtype))
    model = vae.first_stage_model
    small = torch.zeros(1, samples.shape[1], 5, 1, 1, dtype=vae.vae_dtype, device=vae.device)
    pieces = watch(model.decoder, lambda: model.decode(small))
    latents = model.conv2(samples.to(vae.device, vae.vae_dtype))
    for video in _through(model.decoder, [latents], pieces):
        if isinstance(model, comfy.ldm.wan.vae2_2.WanVAE):
            video = comfy.ldm.wan.vae2_2.unpatchify(video, patch_size=2)
        yield _images(vae, video)


def _encoded_by_wan(vae, groups: Iterator[Tensor]) -> Iterator[Tensor]:
    model, side = vae.first_stage_model, vae.spacial_compression_encode()
    first = next(groups, None)
    if first is None:
        return
    _load(vae, vae.memory_used_encode((1, 3, len(first), *first.shape[1:3]), vae.vae_dtype))
    small = torch.zeros(1, vae.output_channels, 17, side, side, dtype=vae.vae_dtype, device=vae.device)
    pieces = watch(model.encoder, lambda: model.encode(small))

    def film() -> Iterator[Tensor]:
        for images in chain([first], groups):
            video = _video(vae, images)
            if isinstance(model, comfy.ldm.wan.vae2_2.WanVAE):
                video = comfy.ldm.wan.vae2_2.patchify(video, patch_size=2)
            yield video

    # The last layer sees the film at once, as in the host: another split would round its products differently.
    latents = torch.cat(list(_through(model.encoder, film(), pieces)), dim=2)
    yield model.conv1(latents).chunk(2, dim=1)[0]


# ----------------------------------------------------------------------------------------------------------- all others


def _decoded_in_windows(vae, samples: Tensor) -> Iterator[Tensor]:
    stride, count = geometry_of(vae).t_stride, samples.shape[2]

    def windows() -> Iterator[tuple[Tensor, int]]:
        for start in range(0, max(1, count - OVERLAP), WINDOW - OVERLAP):
            frames = vae.decode(samples[:, :, start : start + WINDOW])[0]
            last = start + WINDOW >= count
            yield frames[1 if start else 0 :], 0 if last else (OVERLAP - 1) * stride

    return _blended(windows())


def _encoded_in_windows(vae, groups: Iterator[Tensor]) -> Iterator[Tensor]:
    def windows() -> Iterator[tuple[Tensor, int]]:
        window, later = list(islice(groups, WINDOW)), False
        while window:
            following = list(islice(groups, WINDOW - OVERLAP))
            latents = vae.encode(torch.cat(window))[0].movedim(1, 0)
            yield latents[1 if later else 0 :], OVERLAP - 1 if following else 0
            # The next window starts at the last frame of this one's fourth latent frame from the end.
            window = [window[-OVERLAP][-1:], *window[1 - OVERLAP :], *following] if following else []
            later = True

    for latents in _blended(windows()):
        yield latents.movedim(0, 1).unsqueeze(0)


def _blended(windows: Iterable[tuple[Tensor, int]]) -> Iterator[Tensor]:
    """Windows (time, ...), each with the number of its last items that the next one starts with -> one sequence."""
    held = None
    for window, shared in windows:
        if held is not None:
            weight = torch.arange(1, len(held) + 1).view(-1, *[1] * (window.ndim - 1)) / (len(held) + 1)
            window = torch.cat([torch.lerp(held, window[: len(held)], weight.to(window)), window[len(held) :]])
        keep = len(window) - shared
        yield window[:keep]
        held = window[keep:]
