"""Films go through the host as streams: what is decoded into a file and encoded from one, and where files may lie."""

import json
import os

import av
import numpy as np
import pytest
import torch

from sora_core.audio import Sound, Waveform
from sora_core.batch.client import WorkflowError
from sora_core.video import FORMATS, VideoWriter, read_frames
from tests.host.conftest import TINY, to_array
from tests.host.graph import Clip

TONE = Waveform(0.5 * np.sin(np.arange(2 * 32000) * 2 * np.pi * 440 / 32000, dtype=np.float32)[None], 32000)
WORKFLOW = {"workflow": {"nodes": [], "made_by": "a test"}}


class Film(Clip):
    """A graph with a random clip in place of a sampled one: decoding does not ask where a latent comes from."""

    def __init__(self, **size):
        super().__init__(TINY, **({"width": 96, "height": 64, "frames": 9} | size))
        self.sampled = self.sample(steps=1, cfg=1.0)

    def decode(self, latent=None, **changes):
        settings = {"filename_prefix": "video/film", "format": "mp4 H.264", "crf": -1, "pixel_format": "auto"}
        settings |= {"fps": 0.0, "save_to": "output"}
        return self("SoraDecodeToVideo", latent=latent or self.sampled, vae=self.vae, **(settings | changes))

    def encode(self, video, **changes):
        settings = {"start_frame": 0, "frames": 0, "fps": 0.0, "width": 0, "height": 0, "fit": "cover"}
        return self("SoraEncodeVideo", video=video, vae=self.vae, **(settings | changes))


@pytest.fixture
def video_in(server, tmp_path, smooth_clip):
    """(frames, height, width, fps, sound) -> the name under which LoadVideo finds it, and its path."""

    def put(frames=20, height=64, width=96, fps=8.0, sound=True):
        path = tmp_path / "in.mp4"
        sounds = [Sound(TONE, 0.0, 0.0, frames / fps)] if sound else []
        with VideoWriter(path, width, height, fps, sounds=sounds) as writer:
            writer.write(smooth_clip(frames, height, width))
        return server.upload(path), path

    return put


def seconds_of_sound(path) -> float:
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        return sum(frame.samples for frame in file.decode(stream)) / stream.codec_context.sample_rate


def refusal(server, graph) -> str:
    with pytest.raises(WorkflowError) as told:
        server.run(graph.api)
    said = str(told.value)
    assert "\n" not in said and 20 < len(said) < 400, said
    return said


def outputs_of(server) -> set[str]:
    folder = server.folder
    return {
        os.path.join(top, name)
        for part in ("output", "temp")
        for top, _, names in os.walk(folder / part)
        for name in names
        if not name.startswith("ComfyUI_temp")  # what Sora Patch Grid shows
    }


# ------------------------------------------------------------------------------------------------------------ decoding


@pytest.mark.parametrize("name", [name for name, kind in FORMATS.items() if kind.ending])
def test_a_latent_becomes_a_file_of_every_format(server, tmp_path, name):
    g = Film(frames=7)
    g.decode(format=name)
    result = server.run(g.api, extra=WORKFLOW)
    (item,) = result.files(FORMATS[name].ending[1:])
    assert item["type"] == "output" and item["subfolder"] == "video"
    path = server.save(item, tmp_path / item["filename"])
    assert len(list(read_frames(path))) == 7
    with av.open(str(path)) as file:
        stream, tags = file.streams.video[0], {key.lower(): value for key, value in file.metadata.items()}
        assert (stream.width, stream.height) == (96, 64) and float(stream.guessed_rate) == pytest.approx(8, rel=0.05)
    if name != "gif":
        assert json.loads(tags["workflow"])["made_by"] == "a test" and "SoraDecodeToVideo" in tags["prompt"]
    assert not list((server.folder / "output" / "sora_latents").iterdir()), "the latent is only kept while it is needed"


def test_frames_in_a_folder_are_those_of_vae_decode(server, pictures):
    g = Film(frames=7, width=91, height=61)
    node = g.decode(format="png sequence").name
    whole = g.show(g.images(g.sampled))
    result = server.run(g.api, extra=WORKFLOW)
    frames = [to_array(server.fetch(item)) for item in result.outputs[node]["images"]]
    assert np.stack(frames).shape == (7, 61, 91, 3)
    assert np.abs(np.stack(frames).astype(int) - pictures(result, whole)[:7, :61, :91]).max() <= 1  # the host cuts off


def test_a_folder_of_frames_goes_on_as_it_is(server, engine, pictures, latents):
    """Another node reads the PNG files themselves: nothing is compressed on the way."""
    g = Film()
    made = g.decode(format="png sequence")
    encoded = g.encode(made[0])
    nodes = g.keep(encoded[0]), g("PreviewAny", source=encoded[2]).name
    cut = None
    if "Video Slice" in server.object_info():
        part = g("Video Slice", video=made[0], start_time=0.5, duration=0.625, strict_duration=True)[0]
        cut = g.keep(g.encode(part)[0])
    result = server.run(g.api)
    frames = torch.from_numpy(pictures(result, made.name)).movedim(-1, 0)[None] / 127.5 - 1
    assert result.outputs[nodes[1]]["text"] == ["9"]
    torch.testing.assert_close(latents(result, nodes[0]), engine.encode(frames), rtol=0, atol=1e-4)
    if cut is not None:
        torch.testing.assert_close(latents(result, cut), engine.encode(frames[:, :, 4:9]), rtol=0, atol=1e-4)


def test_the_hosts_save_video_keeps_stream_sound_and_workflow(server, tmp_path, video_in):
    name, _ = video_in(frames=20, fps=8.0)
    for sound in (True, False):
        g = Film(frames=9)
        more = {"sound_of": g("LoadVideo", file=name)[0]} if sound else {}
        made = g.decode(save_to="temp", **more)
        g("SaveVideo", video=made[0], filename_prefix="copied", format="auto", codec="auto")
        result = server.run(g.api, extra=WORKFLOW)
        item = next(item for item in result.files("mp4") if item["filename"].startswith("copied"))
        path = server.save(item, tmp_path / "copied.mp4")
        with av.open(str(path)) as file:
            assert json.loads(file.metadata["workflow"])["made_by"] == "a test"
            assert "SoraDecodeToVideo" in file.metadata["prompt"]
            assert len(file.streams.audio) == sound
        assert len(list(read_frames(path))) == 9
        assert not sound or 9 / 8 <= seconds_of_sound(path) < 9 / 8 + 0.1


def test_sound_in_memory_is_kept_as_well(server, tmp_path, video_in):
    name, _ = video_in(frames=20, fps=8.0)
    g = Film(frames=9)
    audio = g("GetVideoComponents", video=g("LoadVideo", file=name)[0])[1]
    g.decode(audio=audio, format="webm VP9")
    path = server.save(server.run(g.api).files("webm")[0], tmp_path / "a.webm")
    assert 9 / 8 <= seconds_of_sound(path) < 9 / 8 + 0.1


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"format": "mov ProRes", "crf": 10}, "mov ProRes has no constant quality"),
        ({"format": "gif", "fps": 60.0}, "A gif holds at most 50 frames per second, not 60"),
        ({"format": "gif", "pixel_format": "yuv444p10le"}, "gif cannot hold yuv444p10le: choose auto."),
        ({"crf": 60}, "goes from 0 to 51, not 60"),
        ({"format": "webm VP9", "pixel_format": "yuv420p10le"}, "webm VP9 cannot hold yuv420p10le"),
        ({"filename_prefix": "x" * 300}, "use at most 200"),
    ],
)
def test_settings_that_cannot_be(server, settings, expected):
    before = outputs_of(server)
    g = Film()
    g.decode(**settings)
    assert expected in refusal(server, g)
    assert outputs_of(server) == before


def test_sound_that_a_format_cannot_hold_is_refused(server, video_in):
    name, _ = video_in()
    g = Film()
    g.decode(format="gif", sound_of=g("LoadVideo", file=name)[0])
    assert "gif holds no sound" in refusal(server, g)


@pytest.mark.parametrize(
    "prefix",
    ["../x", "a/../../x", "..\\x", "/tmp/x", "\\x", "C:\\x", "~/x", "a/..", "link/x", "./../x", " ../x", "a/ .. /x"],
)
def test_no_name_leads_out_of_the_folder(server, tmp_path, prefix):
    outside = server.folder / "outside"
    outside.mkdir(exist_ok=True)
    link = server.folder / "output" / "link"
    if not link.is_symlink():
        link.symlink_to(outside, target_is_directory=True)
    before = outputs_of(server)
    g = Film()
    g.decode(filename_prefix=prefix)
    assert "filename_prefix" in refusal(server, g)
    assert outputs_of(server) == before and not list(outside.iterdir())


def test_odd_characters_in_a_name_become_plain(server):
    for prefix, expected in (
        ("ab:c*d\x00e\nf", "ab_c_d_e_f_00001_"),
        ("con", "_con_00001_.mp4"),
        ("", "Sora_00001_"),
    ):
        g = Film()
        g.decode(filename_prefix=prefix)
        (item,) = server.run(g.api).files("mp4")
        assert item["filename"].startswith(expected) and item["subfolder"] == ""


def test_an_interrupted_decode_leaves_the_latent_and_no_file(server, tmp_path):
    g = Film(frames=481, width=256, height=256)
    node = g.decode(latent=g.latent, filename_prefix="cut").name
    stopped = []

    def stop(kind, data):
        if kind == "progress" and str(data["node"]) == node and not stopped:
            stopped.append(data["value"])
            server.interrupt()

    with pytest.raises(WorkflowError, match="interrupted"):
        server.run(g.api, on_event=stop)
    assert stopped and stopped[0] < 481
    assert not [name for name in outputs_of(server) if "cut" in name], "no half file"
    (kept,) = (server.folder / "output" / "sora_latents").iterdir()

    again = Film()
    latent = again("SoraLoadLatent", latent=kept.name)[0]
    again.api = {
        key: value for key, value in again.api.items() if value["class_type"] in ("SoraLoadModel", "SoraLoadLatent")
    }
    again.decode(latent=latent, filename_prefix="again")
    (item,) = server.run(again.api).files("mp4")
    assert len(list(read_frames(server.save(item, tmp_path / "again.mp4")))) == 481
    assert kept.exists(), "what was loaded stays"
    kept.unlink()


def test_a_kept_latent_that_is_not_there(server):
    g = Film()
    g.decode(latent=g("SoraLoadLatent", latent="../../secret.latent")[0])
    assert "latent" in refusal(server, g)


# ------------------------------------------------------------------------------------------------------------ encoding


def test_a_file_is_encoded_as_the_engine_does(server, engine, latents, video_in):
    name, path = video_in(frames=14, height=61, width=91)
    g = Film()
    node = g.keep(g.encode(g("LoadVideo", file=name)[0])[0])
    ours = engine.encode(torch.stack(list(read_frames(path)), dim=1)[None])
    assert (latents(server.run(g.api), node) - ours).abs().max() <= 1e-4


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"start_frame": 5, "frames": 6}, range(5, 11)),
        ({"fps": 4.0}, range(0, 20, 2)),
        ({"fps": 16.0, "start_frame": 3, "frames": 4}, [1, 2, 2, 3]),
        ({"start_frame": 18}, [18, 19]),
    ],
)
def test_a_range_and_another_rate(server, engine, latents, video_in, settings, expected):
    name, path = video_in(frames=20)
    g = Film()
    made = g.encode(g("LoadVideo", file=name)[0], **settings)
    kept, told = g.keep(made[0]), g("PreviewAny", source=made[2]).name
    result = server.run(g.api)
    frames = torch.stack(list(read_frames(path)), dim=1)[None, :, list(expected)]
    assert (latents(result, kept) - engine.encode(frames)).abs().max() <= 1e-4
    assert list(result.outputs[told]["text"]) == [str(len(expected))]


@pytest.mark.parametrize("fit", ["cover", "pad", "stretch"])
def test_a_video_is_fitted_into_a_grid(server, latents, pictures, video_in, fit):
    name, _ = video_in(frames=20, height=48, width=128)
    g = Film(width=64, height=64, frames=9)
    made = g.encode(g("LoadVideo", file=name)[0], fit=fit, grid=g.latent)
    kept, shown = g.keep(made[0]), g.show(g.images(made[0]))
    result = server.run(g.api)
    assert latents(result, kept).shape == (1, 8, 3, 8, 8)
    assert pictures(result, shown).shape[1:] == (64, 64, 3)


@pytest.mark.parametrize(("fps", "expected"), [(0.0, "12.0"), (6.0, "6.0")])
def test_a_grid_that_says_no_frame_rate_leaves_the_films_or_the_nodes(server, video_in, fps, expected):
    """The host's own empty latents say none."""
    name, _ = video_in(frames=40, fps=12.0)
    g = Film()
    grid = g("EmptyHunyuanLatentVideo", width=64, height=48, length=9, batch_size=1)[0]
    made = g.encode(g("LoadVideo", file=name)[0], fps=fps, grid=grid)
    told = [g("PreviewAny", source=made[slot]).name for slot in (1, 2)]
    result = server.run(g.api)
    assert [result.outputs[node]["text"] for node in told] == [[expected], ["9"]]


def test_frames_in_memory_are_encoded_without_a_file(server, latents, picture_in, photo):
    g = Film(width=64, height=48)
    images = g("RepeatImageBatch", image=g("LoadImage", image=picture_in(photo))[0], amount=5)[0]
    made = g.encode(g("CreateVideo", images=images, fps=8.0)[0])
    streamed, whole = g.keep(made[0]), g.keep(g("VAEEncode", pixels=images, vae=g.vae)[0])
    result = server.run(g.api)
    assert (latents(result, streamed) - latents(result, whole)).abs().max() <= 1e-5


def test_encoded_and_decoded_again_has_the_same_size_length_and_rate(server, tmp_path, video_in):
    name, _ = video_in(frames=14, height=67, width=91, fps=12.0)
    g = Film()
    video = g("LoadVideo", file=name)[0]
    g.decode(latent=g.encode(video)[0], sound_of=video)
    back = server.save(server.run(g.api).files("mp4")[0], tmp_path / "back.mp4")
    with av.open(str(back)) as file:
        stream = file.streams.video[0]
        assert (stream.width, stream.height, float(stream.average_rate), stream.frames) == (91, 67, 12.0, 14)
    assert seconds_of_sound(back) == pytest.approx(14 / 12, abs=0.1)


def test_ranges_and_sizes_that_cannot_be(server, video_in):
    name, _ = video_in(frames=20)
    for settings, expected in (
        ({"start_frame": 20}, "no frame to encode"),
        ({"width": 4, "height": 32}, "width must be from 8 to 2048 pixels"),
        ({"fps": 500.0}, "bigger than max"),
    ):
        g = Film()
        g.keep(g.encode(g("LoadVideo", file=name)[0], **settings)[0])
        assert expected in refusal(server, g)
