"""Sound of inputs lands at its time in the film, in every kind of file that has sound."""

import io
import os
import wave
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from sora_core.audio import Sound, Waveform, has_sound
from sora_core.clip import Clip
from sora_core.errors import UserError
from sora_core.video import VideoWriter, probe, read_frames


def write_tones(path, tones, rate=44100, channels=2):
    """A WAV file of half a second of each tone (Hz; 0 is silence)."""
    time = np.arange(rate // 2) / rate
    samples = np.concatenate([0.5 * np.sin(2 * np.pi * tone * time) for tone in tones])
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat((samples * 32767).astype("<i2"), channels).tobytes())
    return path


def write_film(path, frames, sounds, fps=8):
    with VideoWriter(path, 32, 32, fps, sounds=sounds) as writer:
        for i in range(frames):
            writer.write(torch.full((3, 32, 32), i / frames))
    return path


def tones_of(path) -> list[int]:
    """The strongest frequency in every half second, to 20 Hz; 0 where it is silent."""
    with av.open(str(path)) as container:
        rate = container.streams.audio[0].codec_context.sample_rate
        resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
        parts = [(f.time, p.to_ndarray()[0]) for f in container.decode(audio=0) for p in resampler.resample(f)]
    line = np.concatenate([np.zeros(round(parts[0][0] * rate), np.float32)] + [part for _, part in parts])
    found = []
    for start in range(0, len(line) - rate // 4, rate // 2):
        piece = line[start + rate // 10 : start + rate // 10 + rate // 4]
        loud = np.abs(np.fft.rfft(piece * np.hanning(len(piece))))
        found.append(0 if np.abs(piece).max() < 0.01 else round(loud.argmax() * rate / len(piece) / 20) * 20)
    return found


@pytest.mark.parametrize("ending", [".mp4", ".webm"])
@pytest.mark.parametrize("rate, channels", [(44100, 2), (22050, 1), (11025, 1)])
def test_pieces_of_sound_at_their_times(tmp_path, ending, rate, channels):
    a = write_tones(tmp_path / "a.wav", [400, 800, 1200], rate, channels)
    sounds = [Sound(a, 0.5, 0.5, 1.0), Sound(a, 2.0, 0.0, 0.5)]
    film = write_film(tmp_path / f"film{ending}", 24, sounds)
    assert has_sound(film) and probe(film).frames == 24
    assert tones_of(film)[:5] == [0, 800, 1200, 0, 400]


def test_sound_after_a_gap_and_in_another_format_is_in_its_place(tmp_path, monkeypatch):
    def tone(hertz, rate, layout):
        wave = np.sin(2 * np.pi * hertz * np.arange(rate // 2) / rate).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.stack([wave] * (1 + (layout == "stereo"))), "fltp", layout)
        frame.sample_rate = rate
        return frame

    blocks = [(0.0, tone(400, 44100, "stereo")), (1.0, tone(800, 44100, "stereo")), (1.5, tone(1200, 22050, "mono"))]
    a = write_tones(tmp_path / "a.wav", [400])
    monkeypatch.setattr("sora_core.audio._frames", lambda path: iter([*blocks, (2.0, None)]))
    assert tones_of(write_film(tmp_path / "film.mp4", 16, [Sound(a, 0.0, 0.0, 2.0)]))[:4] == [400, 0, 800, 1200]


def test_sounds_of_different_files_make_one_track(tmp_path):
    a = write_tones(tmp_path / "a.wav", [400, 800], 44100, 2)
    b = write_tones(tmp_path / "b.wav", [1200, 1600], 16000, 1)
    first = write_film(tmp_path / "a.mp4", 8, [Sound(a, 0, 0, 1)])
    film = write_film(tmp_path / "film.mp4", 24, [Sound(first, 0, 0, 1), Sound(b, 1.5, 0, 1)])
    assert tones_of(film)[:5] == [400, 800, 0, 1200, 1600]


def test_a_film_without_sound_and_a_kind_without_it(tmp_path):
    a = write_tones(tmp_path / "a.wav", [400])
    assert not has_sound(write_film(tmp_path / "a.mp4", 4, []))
    assert not has_sound(write_film(tmp_path / "a.gif", 4, [Sound(a, 0, 0, 0.5)]))
    assert not has_sound(tmp_path / "none.mp4")


def test_pictures_and_sound_of_a_film_in_memory_are_read_beside_each_other(tmp_path):
    a = write_tones(tmp_path / "a.wav", [400, 800] * 10)
    noise = torch.rand(80, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1  # no small file
    with VideoWriter(tmp_path / "a.mp4", 128, 128, 8, sounds=[Sound(a, 0, 0, 10)]) as writer:
        for frame in noise:
            writer.write(frame)
    copies = []
    for source in (tmp_path / "a.mp4", io.BytesIO((tmp_path / "a.mp4").read_bytes())):
        with VideoWriter(tmp_path / "b.mp4", 128, 128, 8, sounds=[Sound(source, 0, 0, 10)]) as writer:
            for frame in read_frames(source):
                writer.write(frame)
        copies.append((tmp_path / "b.mp4").read_bytes())
    assert copies[0] == copies[1]


def test_sound_that_cannot_be_read_is_one_sentence(tmp_path):
    a = write_tones(tmp_path / "a.wav", [400] * 8)
    film = write_film(tmp_path / "a.mp4", 32, [Sound(a, 0, 0, 4)])
    sound = Sound(film, 0, 0, 4)
    film.write_bytes(b"no film any more" * 100)
    with pytest.raises(UserError, match=r"sound of .*a.mp4 is damaged: .*\.$") as caught:
        write_film(tmp_path / "b.mp4", 4, [sound])
    assert caught and sorted(os.listdir(tmp_path)) == ["a.mp4", "a.wav"], "nor the hidden folder, while the error lives"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_sound_that_is_not_finite_is_refused_before_the_first_frame(tmp_path, bad):
    samples = np.zeros((2, 48000), np.float32)
    samples[1, 36000] = bad
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_f32le", rate=48000, layout="stereo")
        for start in range(0, 48000, 4800):
            part = np.ascontiguousarray(samples[:, start : start + 4800].T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(part, format="flt", layout="stereo")
            frame.sample_rate, frame.pts = 48000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for source in (Waveform(samples, 48000), tmp_path / "a.mkv"):
        with (
            pytest.raises(UserError, match=r"not finite \(NaN or infinity\) after 0\.\d+ seconds"),
            VideoWriter(tmp_path / "b.mp4", 32, 32, 8, sounds=[Sound(source, 0, 0, 1)]),
        ):
            pytest.fail("the work began")
        assert os.listdir(tmp_path) == ["a.mkv"]
        write_film(tmp_path / "c.mp4", 4, [Sound(source, 0, 0, 0.25)]).unlink()  # of it this film takes what is sound


def test_sound_that_is_damaged_later_is_refused_before_the_first_frame(tmp_path):
    a = write_tones(tmp_path / "a.wav", [400] * 8)
    film = write_film(tmp_path / "a.mov", 32, [Sound(a, 0, 0, 4)])
    content = film.read_bytes().replace(b"in24", b"mp4a")  # said to be of another kind than it is
    film.write_bytes(content)
    with (
        pytest.raises(UserError, match=r"sound of .*a.mov is damaged"),
        VideoWriter(tmp_path / "b.mp4", 32, 32, 8, sounds=[Sound(film, 0, 0, 4)]),
    ):
        pytest.fail("the work began")


def test_sound_that_no_decoder_reads_is_left_out_and_said(tmp_path):
    a = write_tones(tmp_path / "a.wav", [400] * 4)
    film = write_film(tmp_path / "a.mov", 16, [Sound(a, 0, 0, 2)])
    assert has_sound(film) and Clip(film).changes == []
    sound = Sound(film, 0, 0, 2)
    film.write_bytes(film.read_bytes().replace(b"in24", b"ac-4"))  # the code of the kind of sound
    assert not has_sound(film) and probe(film).frames == 16
    assert Clip(film).changes == ["a.mov is silent here: no decoder reads the kind of sound that it holds."]
    with pytest.raises(UserError, match=r"^The sound of .*a.mov is of a kind that no decoder here reads\.$"):
        write_film(tmp_path / "b.mp4", 4, [sound])
    assert sorted(os.listdir(tmp_path)) == ["a.mov", "a.wav"]


@pytest.mark.parametrize("rate", [11025, 16000, 44100, 48000])
def test_no_sample_is_lost_on_the_way_to_another_rate(tmp_path, rate):
    sounds = [
        Sound(write_tones(tmp_path / "a.wav", [400, 800], rate, 1), 0, 0, 1),
        Sound(Waveform(np.full((1, 8000), 0.5, np.float32), 8000), 1, 0, 1),  # two rates become 48 kHz
    ]
    with av.open(str(write_film(tmp_path / "a.mov", 16, sounds))) as container:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)]) / 2**31
    assert len(heard) == 2 * 48000
    assert np.abs(heard[48000 - 500 : 48000]).max() > 0.4, "up to the last moment"


@pytest.mark.parametrize("ending", [".ts", ".mkv"])
@pytest.mark.parametrize(
    "begin, at, heard", [(0, 0.5, [0, 400]), (5, 5.5, [0, 400]), (5, 5, [400, 800]), (5, 4.5, [800])]
)
def test_sound_keeps_its_place_beside_pictures_that_do_not_begin_at_0(tmp_path, ending, begin, at, heard):
    with av.open(str(tmp_path / f"a{ending}"), "w") as container:
        pictures, sound = container.add_stream("libx264", rate=8), container.add_stream("aac", rate=48000)
        pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
        for i in range(8):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32), np.uint8), format="gray").reformat(format="yuv420p")
            frame.pts, frame.time_base = 8 * begin + i, Fraction(1, 8)
            container.mux(pictures.encode(frame))
        time = np.arange(24000) / 48000
        tones = np.concatenate([0.5 * np.sin(2 * np.pi * tone * time) for tone in (400, 800)]).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.stack([tones, tones]), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, int(48000 * at), Fraction(1, 48000)
        container.mux(sound.encode(frame) + sound.encode(None) + pictures.encode(None))
    film = write_film(tmp_path / "b.mov", 8, [Sound(tmp_path / f"a{ending}", 0, 0, 1)])
    assert tones_of(film)[:2] == heard
