"""Damaged and hostile files, made from good ones by a seeded generator, and what the engine does with them.

    python -m tests.core.fuzzer --count 1000 --seed 1

Every file is read in a process that may allocate `MEMORY` more bytes than it has after its imports and must answer
within `PATIENCE` seconds. It may be read or refused in one sentence (`UserError`); anything else is a finding, and the
file is kept. Half the mutations know the format (a header of JSON with the right length, a PNG chunk with the right
check sum), so that they come past the first check.
"""

from __future__ import annotations

import argparse
import json
import queue
import random
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zlib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
KINDS = {"checkpoint": ".safetensors", "film": ".mp4", "picture": ".png", "workflow": ".json"}
MEMORY = 2 * 2**30  # bytes
PATIENCE = 10.0  # seconds
LONGEST = 600  # characters of a sentence that a person should read

HOSTILE = (
    *(None, True, -1, 0, 1, 3, 2**31, 2**63, -(2**63), 10**30, 0.5, 1e308, float("nan"), float("inf")),
    *("", "\x00\n\x1b[31m", "x" * 100_000, "../../etc/passwd", "hf:org/name@main", "http://127.0.0.1:9/x"),
    *([], {}, [[]], {"": {}}, [1] * 1000),
)
NUMBERS = (0, 1, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@dataclass(frozen=True)
class Outcome:
    """What became of one file: "read", "refused", or a finding ("escaped", "crashed", "hung", "too much memory")."""

    file: Path
    what: str
    said: str = ""
    seconds: float = 0.0

    @property
    def fine(self) -> bool:
        return self.what in ("read", "refused")


# ------------------------------------------------------------------------------------------------------------ mutations


def mutated(kind: str, data: bytes, rng: random.Random) -> bytes:
    """A damaged copy of a good file."""
    aware = {"checkpoint": mutated_checkpoint, "picture": mutated_picture, "workflow": mutated_workflow}
    if kind in aware and rng.random() < 0.5:
        return aware[kind](data, rng)
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = mutated_bytes(data, rng, atoms=kind == "film")
    return data


def mutated_bytes(data: bytes, rng: random.Random, atoms: bool = False) -> bytes:
    """One mutation anywhere, or (`atoms`) mostly in the index of an mp4, where its sizes and offsets are."""
    if not data:
        return bytes(rng.randrange(256) for _ in range(8))
    start = data.find(b"moov") if atoms and rng.random() < 0.7 else 0
    at = rng.randrange(max(0, start), len(data))
    length = rng.choice((1, 4, 16, 256))
    how = rng.randrange(7)
    if how == 0:
        return data[:at]
    if how == 1:
        changed = bytearray(data)
        for _ in range(rng.choice((1, 8, 64))):
            changed[rng.randrange(max(0, start), len(data))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if how == 2:
        return data[:at] + bytes([rng.choice((0, 0xFF))]) * length + data[at + length :]
    if how == 3:
        return data[:at] + rng.randbytes(length) + data[at:]
    if how == 4:
        return data[:at] + data[at + length :]
    if how == 5:
        return data[:at] + data[at : at + length] * 50 + data[at + length :]
    number = struct.pack(rng.choice("<>") + "I", rng.choice(NUMBERS))
    return data[:at] + number + data[at + 4 :]


def mutated_checkpoint(data: bytes, rng: random.Random) -> bytes:
    """Another header of JSON before the same tensors; the length before it stays right."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    if rng.random() < 0.6:  # the configs, which are JSON inside the header
        key = rng.choice(("sora.config", "sora.card"))
        header["__metadata__"][key] = json.dumps(mutated_json(json.loads(header["__metadata__"][key]), rng))
    else:
        header = mutated_json(header, rng)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def mutated_picture(data: bytes, rng: random.Random) -> bytes:
    """Another size, depth, kind of colour, or other bytes in a chunk, whose check sum is made right again."""
    chunks, at = [], 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    number = rng.randrange(len(chunks))
    name, body = chunks[number]
    if name == b"IHDR" or rng.random() < 0.5:
        name, body = chunks[0]
        width, height = (rng.choice((0, 1, 5, 4096, 13_000, 65_535, 2**31 - 1)) for _ in range(2))
        body = struct.pack(">IIBB", width, height, rng.choice((1, 8, 16)), rng.choice((0, 2, 3, 4, 6))) + body[10:]
        number = 0
    else:
        body = mutated_bytes(body, rng)
    chunks[number] = (name, body)
    if rng.random() < 0.3:
        chunks.insert(1, (rng.choice((b"tRNS", b"PLTE", b"eXIf", b"iCCP", b"acTL")), rng.randbytes(64)))
    made = [struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks]
    return data[:8] + b"".join(made)


def mutated_workflow(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.05:
        return b"[" * 200_000
    return json.dumps(mutated_json(json.loads(data), rng)).encode()


def mutated_json(value, rng: random.Random):
    """A copy in which up to four values are hostile, missing, doubled or somebody else's."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 2, 4))):
        places = [
            (held, key) for held in containers(value) for key in (held if isinstance(held, dict) else range(len(held)))
        ]
        if not places:
            return rng.choice(HOSTILE)
        held, key = rng.choice(places)
        how = rng.randrange(6)
        if how == 0:
            del held[key]
        elif how == 1:
            other, name = rng.choice(places)
            held[key] = json.loads(json.dumps(other[name]))
        elif how == 2 and isinstance(held, dict):
            held[rng.choice(("", "x", "../x", "id", "nodes"))] = held.pop(key)
        elif how == 3 and isinstance(held, list):
            held.append(held[key])
        else:
            held[key] = rng.choice(HOSTILE)
    return value


def containers(value):
    """Every list and dict inside, itself included."""
    if isinstance(value, (list, dict)):
        yield value
        for part in value.values() if isinstance(value, dict) else value:
            yield from containers(part)


# ----------------------------------------------------------------------------------------------------------- good files


NODES = {  # as a host declares them
    "Load": {"input": {"required": {"file": [["a", "b"], {}]}}},
    "Sample": {
        "input": {"required": {"model": ["MODEL", {}], "seed": ["INT", {}], "cfg": ["FLOAT", {"default": 1.0}]}}
    },
    "Save": {
        "input": {
            "required": {
                "images": ["IMAGE", {}],
                "format": [
                    "COMFY_DYNAMICCOMBO_V3",
                    {"options": [{"key": "png", "inputs": {"required": {"level": ["INT", {}]}}}]},
                ],
            }
        }
    },
}


def workflow() -> dict:
    """A saved graph with everything that the converter resolves: reroute, primitive, bypass and a subgraph."""
    inner = {
        "id": "inner",
        "inputs": [{"name": "model", "type": "MODEL"}],
        "nodes": [
            {
                "id": 1,
                "type": "Sample",
                "inputs": [{"name": "model", "type": "MODEL", "link": 1}],
                "outputs": [{"type": "IMAGE"}],
                "widgets_values": [7, "randomize", 2.5],
            }
        ],
        "links": [
            {"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 1, "target_slot": 0, "type": "MODEL"},
            {"id": 2, "origin_id": 1, "origin_slot": 0, "target_id": -20, "target_slot": 0, "type": "IMAGE"},
        ],
    }

    def node(number, kind, inputs=(), outputs=(), values=(), **more):
        sockets = [{"name": name, "type": type, "link": link} for name, type, link in inputs]
        made = {"id": number, "type": kind, "inputs": sockets, "outputs": [{"type": type} for type in outputs]}
        return made | {"widgets_values": list(values)} | more

    nodes = [
        node(1, "Load", outputs=["MODEL"], values=["b"], title="The model"),
        node(2, "Reroute", [("", "*", 1)], ["MODEL"]),
        node(3, "Sample", [("model", "MODEL", 2), ("cfg", "FLOAT", 3)], ["MODEL"], [7, "fixed", 2.5], mode=4),
        node(4, "PrimitiveNode", outputs=["FLOAT"], values=[4.5, "fixed"]),
        node(5, "inner", [("model", "MODEL", 4)], ["IMAGE"]),
        node(6, "Save", [("images", "IMAGE", 5)], values=["png", 4]),
        node(7, "MarkdownNote", values=["read me"]),
    ]
    links = [
        [1, 1, 0, 2, 0, "MODEL"],
        [2, 2, 0, 3, 0, "MODEL"],
        [3, 4, 0, 3, 1, "FLOAT"],
        [4, 3, 0, 5, 0, "MODEL"],
        [5, 5, 0, 6, 0, "IMAGE"],
    ]
    return {"nodes": nodes, "links": links, "definitions": {"subgraphs": [inner]}}


def good_files(folder: Path, checkpoint: Path) -> dict[str, list[bytes]]:
    """Of every kind a few files that are as they should be.

    Args:
        folder: scratch space.
        checkpoint: a small complete checkpoint.
    """
    import numpy as np
    import torch
    from PIL import Image

    from sora_core.audio import Sound, Waveform
    from sora_core.batch.workflow import to_api
    from sora_core.video import VideoWriter

    clip = torch.rand(3, 9, 48, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    tone = Waveform(np.sin(np.arange(9000, dtype=np.float32)[None] / 20), 8000)
    films = []
    for name, sounds in (("mute.mp4", ()), ("sound.mp4", [Sound(tone, 0.0, 0.0, 1.0)])):
        with VideoWriter(folder / name, 64, 48, 8.0, {"prompt": {"text": "a red ball"}}, sounds) as writer:
            writer.write(clip)
        films.append((folder / name).read_bytes())
    pixels = (clip[:, 0].movedim(0, -1).numpy() * 127 + 128).astype(np.uint8)
    pictures = []
    for mode in ("RGB", "RGBA", "P", "I;16"):
        grey = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
        (grey if mode == "I;16" else Image.fromarray(pixels).convert(mode)).save(folder / "picture.png")
        pictures.append((folder / "picture.png").read_bytes())
    saved = workflow()
    workflows = [json.dumps(graph).encode() for graph in (saved, to_api(saved, NODES))]
    return {"checkpoint": [checkpoint.read_bytes()], "film": films, "picture": pictures, "workflow": workflows}


# -------------------------------------------------------------------------------------------------------------- reading


def read(kind: str, path: Path) -> None:
    """What the engine does with a file of this kind, to the end."""
    if kind == "checkpoint":
        from sora_core.pipeline import Pipeline

        pipeline = Pipeline.load(path, device="cpu")
        pipeline.generate("a red ball", pipeline.grid(16, 16, 1, 8.0), steps=1)
    elif kind == "film":
        from sora_core.audio import Sound, has_sound
        from sora_core.video import VideoWriter, probe, read_frames

        probe(path)
        for _ in read_frames(path):
            pass
        if has_sound(path):
            import torch

            with VideoWriter(path.with_suffix(".out.mp4"), 16, 16, 8.0, None, [Sound(path, 0.0, 0.0, 1.0)]) as writer:
                writer.write(torch.zeros(3, 8, 16, 16))
    elif kind == "picture":
        from sora_core.video import read_image

        read_image(path)
    else:
        from sora_core.batch.workflow import read as read_workflow
        from sora_core.batch.workflow import to_api

        to_api(read_workflow(path), NODES)


def child(paths: list[Path]) -> None:
    """Read files and print an outcome for each; killed by the parent when one takes too long."""
    import resource

    import torch

    import sora_core.audio
    import sora_core.batch.workflow
    import sora_core.pipeline  # noqa: F401
    from sora_core.errors import UserError

    torch.set_num_threads(1)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    limit = int(status["VmData"].split()[0]) * 1024 + MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    kinds = {ending: kind for kind, ending in KINDS.items()}
    for path in paths:
        print(json.dumps({"begin": str(path)}), flush=True)
        start = time.monotonic()
        try:
            read(kinds[path.suffix], path)
            what, said = "read", ""
        except UserError as error:
            said = str(error)
            what = "refused" if "\n" not in said and 10 < len(said) < LONGEST else "escaped"
        except MemoryError as error:
            what, said = "too much memory", repr(error)
        except Exception as error:
            large = "can't allocate memory" in str(error) or "Cannot allocate memory" in str(error)
            where = traceback.extract_tb(error.__traceback__)[-1]
            what = "too much memory" if large else "escaped"
            said = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        print(json.dumps({"what": what, "said": said[:LONGEST], "seconds": time.monotonic() - start}), flush=True)


def outcomes(paths: list[Path]) -> list[Outcome]:
    """Have files read in processes of their own; one that dies or hangs is a finding, the next goes on after it."""
    found: list[Outcome] = []
    while len(found) < len(paths):
        found += _watched(paths[len(found) :])
    return found


def _watched(paths: list[Path]) -> list[Outcome]:
    line = [sys.executable, "-c", "from tests.core.fuzzer import child_main; child_main()"]
    found: list[Outcome] = []
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        process.stdin.write("\n".join(map(str, paths)))
        process.stdin.close()
        told: queue.Queue[str | None] = queue.Queue()
        reader = threading.Thread(target=_forward, args=(process.stdout, told), daemon=True)
        reader.start()
        begun = None
        try:
            while len(found) < len(paths):
                text = told.get(timeout=PATIENCE if begun else 120)  # the imports are not a file's fault
                if text is None:
                    process.wait()
                    errors.seek(0)
                    last = errors.read().strip().splitlines()[-1:] or [f"exit status {process.returncode}"]
                    if begun is None:
                        raise RuntimeError(f"the process that reads the files ended: {last[0]}")
                    return [*found, Outcome(begun, "crashed", f"{process.returncode}: {last[0]}")]
                message = json.loads(text)
                if "begin" in message:
                    begun = Path(message["begin"])
                else:
                    found.append(Outcome(begun, message["what"], message["said"], message["seconds"]))
                    begun = None
            return found
        except queue.Empty:
            return [*found, Outcome(begun or paths[len(found)], "hung", f"no answer in {PATIENCE:g} s", PATIENCE)]
        finally:
            process.kill()
            process.wait()
            reader.join()
            process.stdout.close()


def _forward(lines, told: queue.Queue) -> None:
    for text in lines:
        told.put(text)
    told.put(None)


def child_main() -> None:
    child([Path(text) for text in sys.stdin.read().splitlines()])


def write_mutants(folder: Path, checkpoint: Path, count: int, seed: int, kinds=tuple(KINDS)) -> list[Path]:
    """`count` damaged files of the kinds in turn, the same for the same seed."""
    good, rng, paths = good_files(folder, checkpoint), random.Random(seed), []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        path = folder / f"{number:05}{KINDS[kind]}"
        path.write_bytes(mutated(kind, rng.choice(good[kind]), rng))
        paths.append(path)
    return paths


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=ROOT / "out" / "fuzz", help="where findings are kept")
    asked = parser.parse_args()
    from sora_core import checkpoint
    from tests.host.conftest import networks

    with tempfile.TemporaryDirectory() as folder:
        checkpoint.save(
            Path(folder, "good.safetensors"), networks(), card={"settings": {"steps": 3}, "size": {"fps": 8.0}}
        )
        found = outcomes(write_mutants(Path(folder), Path(folder, "good.safetensors"), asked.count, asked.seed))
        bad = [one for one in found if not one.fine]
        for one in bad:
            asked.keep.mkdir(parents=True, exist_ok=True)
            (asked.keep / one.file.name).write_bytes(one.file.read_bytes())
            print(f"{one.what}: {one.file.name}: {one.said}")
    tally = {what: sum(one.what == what for one in found) for what in sorted({one.what for one in found})}
    print(f"{len(found)} files: {tally}; slowest {max(one.seconds for one in found):.2f} s; findings in {asked.keep}")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
