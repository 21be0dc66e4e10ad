"""When the frames of a file are shown, by its timestamps, brought to one constant rate.

Phones and screen recorders write a frame whenever they have one. Such a film keeps its timing at a constant rate if a
frame is held until the next one's time, and left out where two come at the same time of that rate. A film whose frames
are evenly spaced, but for the rounding of its timestamps, goes through as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import av
import numpy as np

_EVEN = 1 / 3  # of a frame, the most that an evenly spaced one is beside its time: GIF counts hundredths of a second
_LONGEST = 10  # times as many frames at most: damaged timestamps would make hours of one frame


@dataclass(frozen=True)
class Timing:
    """The frames of a video at a constant rate.

    Attributes:
        rate: frames per second.
        frames: how many there are at this rate.
        even: whether those are the frames of the file, one by one.
        begin: timestamp of the first frame; None where a file has no timestamps, or some that run backwards, and its
            frames are counted.
        tick: seconds per unit of a timestamp.
    """

    rate: float
    frames: int
    even: bool
    begin: int | None
    tick: float

    def number(self, timestamp: int | None, last: int) -> int:
        """Of the frame at a timestamp, which follows number `last`."""
        if self.begin is None or timestamp is None:
            return last + 1
        return round((timestamp - self.begin) * self.tick * self.rate)


def span(rate: float, frames: int, start: float, seconds: float) -> tuple[int, int]:
    """(first, stop) numbers of the frames that are shown from `start` on for some seconds, of a film of so many."""
    return math.ceil((start - 1e-6) * rate), math.ceil(min((start + seconds - 1e-6) * rate, frames))


def timing_of(container: av.container.InputContainer, stream: av.VideoStream) -> Timing | None:
    """Read from the packets of the whole stream, of which none is decoded: headers are often wrong or silent about it.
    None where there are no packets."""
    count, decoded, backwards, stamps = 0, None, False, {}
    for packet in container.demux(stream):
        if packet.size == 0 or packet.is_discard:
            continue
        count += 1
        if packet.pts is not None:
            stamps[packet.pts] = max(0, packet.duration or 0)
        if packet.dts is not None:
            backwards |= decoded is not None and packet.dts < decoded
            decoded = packet.dts
    if not count:
        return None
    said = [float(rate) for rate in (stream.guessed_rate, stream.average_rate) if rate]
    tick = float(stream.time_base)
    if backwards or len(stamps) < max(2, count / 2):
        return Timing(said[0] if said else 8.0, count, True, None, tick)

    begin, end = min(stamps), max(stamps)
    times = (np.array(sorted(stamps), dtype=np.float64) - begin) * tick
    rate, even = _rate(times, said, tick, _LONGEST * count / (times[-1] + stamps[end] * tick))
    held = max(1, round(stamps[end] * tick * rate))  # how long the last one stays
    frames = min(round(times[-1] * rate) + held, _LONGEST * count)
    return Timing(rate, frames, even and held == 1, begin, tick)


def _rate(times: np.ndarray, said: list[float], tick: float, most: float) -> tuple[float, bool]:
    """A constant rate for frames at some times in seconds, and whether they are evenly spaced at it. If not, it is one
    that has places of their own for nine frames of ten: one that the file says where that does, else the rate of the
    shorter gaps; at most `most`."""
    numbers = np.arange(len(times))

    def beside(rate: float) -> float:
        """The most that a frame is beside its time, in frames."""
        return float(np.abs(times * rate - numbers).max())

    if said:
        # which of the rates is right that are within the rounding of timestamps cannot be told
        best = min(said, key=lambda rate: max(beside(rate), tick * rate))
        if beside(best) < _EVEN:
            return best, True
    gaps = np.diff(times)
    short = np.sort(gaps)[len(gaps) // 10]
    near = np.sort(gaps[(gaps > 0.75 * short) & (gaps < 1.5 * short)])
    usual = near[len(near) // 2]
    rate = float(1 / near[np.abs(near - usual) < max(1.01 * tick, usual / 20)].mean())
    if beside(rate) < _EVEN:
        return rate, True
    for one in said:
        places = len(np.unique(np.round(times * one)))
        if one < min(1.5 * rate, most) and places >= 0.9 * len(times):
            return one, False
    return min(rate, most), False
