"""Sound of inputs lands at its time in the film, in every kind of file that has sound."""

import wave

import av
import numpy as np
import pytest
import torch

from sora_core.audio import Sound, has_sound
from sora_core.errors import UserError
from sora_core.video import VideoWriter, probe


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


def test_sound_that_cannot_be_read_is_one_sentence(tmp_path):
    a = write_tones(tmp_path / "a.wav", [400] * 8)
    film = write_film(tmp_path / "a.mp4", 32, [Sound(a, 0, 0, 4)])
    sound = Sound(film, 0, 0, 4)
    film.write_bytes(b"no film any more" * 100)
    with pytest.raises(UserError, match=r"sound of .*a.mp4 is damaged: .*\.$"):
        write_film(tmp_path / "b.mp4", 4, [sound])
    assert not (tmp_path / "b.mp4").exists()
