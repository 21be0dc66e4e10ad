"""Checkpoints: one safetensors file holds one or several networks, their configs and a model card in its header.

Tensor names are prefixed by their network (``vae.``, ``dit.``, ``text.``). The header's metadata carries
``sora.config`` (JSON: network -> the fields of its config) and ``sora.card`` (JSON: whatever is known about the
weights), beside the ``modelspec.*`` keys that model managers read. Nothing is ever unpickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import struct
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .config import fits
from .errors import UserError
from .files import allow_as_usual, replacing
from .grid import Geometry

NETWORKS = ("vae", "dit", "text")
WEIGHTS = Path(__file__).parent / "weights"
BUNDLED = (WEIGHTS / "vae.safetensors", WEIGHTS / "dit.safetensors")
FLOATS = ("F64", "F32", "F16", "BF16")  # safetensors' names of what weights may be stored as
HUB_FILE = "sora.safetensors"

LARGEST = 1 << 18  # of any number in a config: vocabularies come nearest

_PICKLE_ENDINGS = {".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle"}


@dataclass(frozen=True)
class Header:
    """What a checkpoint says about itself, read without its weights.

    Attributes:
        path: of the file.
        config: network -> fields of its config.
        card: what is known about the weights.
        metadata: the header's raw key/value pairs, ``modelspec.*`` among them.
        shapes: tensor name (with prefix) -> shape.
        dtypes: tensor name (with prefix) -> safetensors' name of the type, such as ``"F16"``.
    """

    path: Path
    config: dict[str, dict]
    card: dict
    metadata: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks that the file holds, in the order of `NETWORKS`."""
        return tuple(name for name in NETWORKS if name in self.config)


@dataclass
class Models:
    """The networks of one or several files, ready to run; a network that no file holds is None."""

    vae: nn.Module | None
    dit: nn.Module | None
    text: nn.Module | None
    geometry: Geometry | None
    card: dict
    config: dict[str, dict]


# ---------------------------------------------------------------------------------------------------------- writing


def save(
    path: str | os.PathLike,
    modules: Mapping[str, nn.Module | Mapping[str, Tensor]],
    config: Mapping[str, object] | None = None,
    card: Mapping[str, object] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write networks into one file: beside its name first, then moved into place, so that a kill leaves no half file.

    Args:
        path: ends in ``.safetensors``.
        modules: network name -> the module, or its state dict (averaged weights, say).
        config: network name -> its config, a dataclass or a dict that JSON can hold; None takes each module's own.
        card: title, description, author, date, license, ... ; the ones that modelspec knows are copied there.
        dtype: storage type of matrices and kernels (float16, bfloat16); vectors are small and stay as they are.

    Raises:
        UserError: weights that are not finite, or not in `dtype`; a file that cannot be written.
    """
    if config is None:
        config = {name: module.config for name, module in modules.items()}
    unknown = sorted((set(modules) | set(config)) - set(NETWORKS))
    if unknown or set(modules) != set(config):
        raise ValueError(f"modules {sorted(modules)} and config {sorted(config)} must name the same of {NETWORKS}")
    tensors = {}
    for network, module in modules.items():
        state = module.state_dict() if isinstance(module, nn.Module) else module
        for name, tensor in state.items():
            stored = tensor.detach().cpu()
            if dtype is not None and stored.is_floating_point() and stored.ndim > 1:
                stored = stored.to(dtype)
            _check_finite(f"{network}.{name}", stored)
            tensors[f"{network}.{name}"] = stored.contiguous().clone()  # tied weights may not share memory in the file
    fields = {name: dataclasses.asdict(c) if dataclasses.is_dataclass(c) else dict(c) for name, c in config.items()}
    card = dict(card or {})
    metadata = {
        "format": "pt",
        "sora.config": json.dumps(fields),
        "sora.card": json.dumps(card),
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "sora-canvas/" + "+".join(sorted(fields)),
        "modelspec.implementation": "sora_core",
        "modelspec.title": str(card.get("title", "Sora Canvas")),
        "modelspec.hash_sha256": "0x" + digest(tensors),
    }
    for key in ("description", "author", "date", "license", "resolution", "tags", "usage_hint"):
        if key in card:
            metadata[f"modelspec.{key}"] = str(card[key])
    write_tensors(path, tensors, metadata)


def write_tensors(path: str | os.PathLike, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    with replacing(path) as part:
        try:
            save_file(tensors, part, metadata=metadata)
        except SafetensorError as error:  # its message ends in "(os error 28)" where the system refused
            number = re.search(r"os error (\d+)", str(error))
            raise OSError(int(number[1]) if number else 0, str(error), str(part)) from error
        allow_as_usual(part)  # safetensors lets its owner alone read it


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of the tensors, in the order of their names."""
    seen = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        seen.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        seen.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return seen.hexdigest()


# ---------------------------------------------------------------------------------------------------------- finding


def resolve(name_or_path: str | os.PathLike = "bundled", only: tuple[str, ...] = NETWORKS) -> list[Path]:
    """The files behind a name: ``bundled``, a path, or ``hf:org/name[:file]@revision`` (the only one that downloads).

    Of the bundled files, those that hold the networks `only`.

    Raises:
        UserError: no such file, or the hub cannot give it.
    """
    name = os.fspath(name_or_path)
    if name == "bundled":
        codec, transformer = BUNDLED
        wanted = [codec] * ("vae" in only) + [transformer] * ("dit" in only or "text" in only)
        missing = [path.name for path in wanted if not path.is_file()]
        if missing:
            raise UserError(f"The bundled checkpoint is incomplete ({' and '.join(missing)} missing): install again.")
        return wanted
    if name.startswith("hf:"):
        return [_download(name)]
    path = Path(os.path.expanduser(name))
    if not os.path.isfile(path):
        kind = "a folder, not a checkpoint" if os.path.isdir(path) else "not there"
        raise UserError(
            f"{name!r} is {kind}: give the path of a .safetensors file, the name 'bundled', or hf:org/name@revision."
        )
    return [path]


def _download(name: str) -> Path:
    match = re.fullmatch(r"hf:([\w.-]+/[\w.-]+)(?::([\w./-]+))?@([\w./-]+)", name)
    if match is None:
        raise UserError(
            f"{name!r} must read hf:org/name@revision or hf:org/name:file@revision, with a pinned revision."
        )
    repo, file, revision = match[1], match[2] or HUB_FILE, match[3]
    if not file.endswith(".safetensors"):
        raise UserError(f"{file!r} is not a .safetensors file, and other kinds are not downloaded.")
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repo, file, revision=revision))
    except (OSError, ValueError, RuntimeError) as error:  # unknown repository, file or revision; no network; no space
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(f"{file!r} of {repo!r} at {revision!r} could not be fetched: {first[:200]}") from error


# ---------------------------------------------------------------------------------------------------------- reading


def read_header(path: str | os.PathLike) -> Header:
    """Read and check everything but the weights.

    Raises:
        UserError: a pickle, a truncated or damaged file, or a model that is not ours.
    """
    path = Path(path)
    with _opened(path) as file:
        metadata = file.metadata() or {}
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (a safetensors handle, no dict)
        shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
        dtypes = {name: part.get_dtype() for name, part in slices.items()}
    if "sora.config" not in metadata:
        example = f", its tensors are named like {min(shapes)[:60]!r}" if shapes else ""
        raise UserError(f"{path.name} is not a checkpoint of this project: no sora.config in its header{example}.")
    config, card = (_json_object(metadata.get(key, "{}"), key, path) for key in ("sora.config", "sora.card"))
    unknown = sorted(set(config) - set(NETWORKS))
    if unknown or not config:
        raise UserError(f"{path.name}: sora.config names {unknown or 'no network'}; known are {', '.join(NETWORKS)}.")
    for network, fields in config.items():
        if not isinstance(fields, dict):
            raise UserError(f"{path.name}: sora.config holds no table for {network!r}.")
    return Header(path, config, card, metadata, shapes, dtypes)


def _opened(path: Path):
    """A safetensors handle, or a sentence that says what the file is instead."""
    if path.suffix.lower() in _PICKLE_ENDINGS:
        raise UserError(f"{path.name} may hold a pickle, which can run code and is never opened: use .safetensors.")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    # safetensors begins with the length of its header, of which one in 32 ends in the 0x80 of a pickle, and then "{"
    if start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and start[8:] != b"{"):
        raise UserError(f"{path.name} is a pickle, which can run code and is never opened: use .safetensors.")
    if len(start) >= 8 and size < 8 + struct.unpack("<Q", start[:8])[0] <= 8 + 100_000_000:
        raise UserError(f"{path.name} is truncated inside its header ({size} bytes): get or save it again.")
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        if "IncompleteBuffer" in str(error) or "incomplete" in str(error).lower():
            raise UserError(f"{path.name} is truncated ({size} bytes): get or save it again.") from error
        raise UserError(f"{path.name} is not a safetensors file, or it is damaged: {error}.") from error


def _json_object(text: str, key: str, path: Path) -> dict:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:  # also of numbers without end, and of lists within lists
        raise UserError(f"{path.name}: {key} in its header is damaged: {error}.") from error
    if not isinstance(value, dict):
        raise UserError(f"{path.name}: {key} in its header is not a table.")
    return value


# ---------------------------------------------------------------------------------------------------------- building


def config_classes(network: str) -> tuple[type, type]:
    """(config dataclass, network class) of a name in `NETWORKS`."""
    if network == "vae":
        from .vae import VAE, VAEConfig

        return VAEConfig, VAE
    if network == "dit":
        from .dit import DiT, DiTConfig

        return DiTConfig, DiT
    if network == "text":
        from .text import TextConfig, TextEncoder

        return TextConfig, TextEncoder
    raise ValueError(f"{network!r} is not one of {NETWORKS}")


def make_config(network: str, fields: Mapping[str, object], where: str = "The config"):
    """Build the config dataclass of a network from the fields in a header.

    Raises:
        UserError: a key that the config does not know, one that it lacks, or a value it refuses; named.
    """
    cls, _ = config_classes(network)
    known = {f.name: f for f in dataclasses.fields(cls) if f.init}
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise UserError(f"{where} of {network!r} has an unknown key {unknown[0]!r}: made by a newer version?")
    # A default may change between versions and must then not change what an old file means: every key has to be there.
    missing = sorted(set(known) - set(fields))
    if missing:
        raise UserError(f"{where} of {network!r} lacks the key {missing[0]!r}.")
    hints = typing.get_type_hints(cls)
    for name, value in fields.items():
        numbers = value if isinstance(value, list | tuple) else [value]
        if not fits(value, hints[name]) or any(isinstance(n, int) and not 0 <= n <= LARGEST for n in numbers):
            raise UserError(f"{where} of {network!r} has an impossible {name!r}: {str(value)[:40]}.")
    try:
        return cls(**{name: _tupled(value) for name, value in fields.items()})
    except (ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise UserError(f"{where} of {network!r} is wrong: {error}") from error


def config_of(header: Header, network: str):
    """The config of one of a file's networks.

    Raises:
        UserError: see `make_config`; more blocks than the file has tensors, which would only take long to build.
    """
    config = make_config(network, header.config[network], f"{header.path.name}: the config")
    counts = (value for name, value in vars(config).items() if name == "depth" or name.endswith("_blocks"))
    blocks = sum(sum(count) if isinstance(count, tuple) else count for count in counts)
    if blocks > len(header.shapes):
        raise UserError(
            f"{header.path.name} disagrees with its config: {network!r} has {blocks} blocks there, and the file "
            f"{len(header.shapes)} tensors."
        )
    return config


def _tupled(value):
    """JSON knows lists only; configs are hashable and hold tuples."""
    return tuple(_tupled(v) for v in value) if isinstance(value, list) else value


def load(
    name_or_path: str | os.PathLike = "bundled",
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    only: tuple[str, ...] = NETWORKS,
) -> Models:
    """Load the networks of a checkpoint, in evaluation mode and without gradients.

    A file without a codec (a transformer trained on the bundled codec, say) names the codec it belongs to in its card,
    as ``vae_hash``; the bundled codec is taken where that agrees.

    Args:
        name_or_path: see `resolve`.
        device, dtype: where and in which type the weights are held.
        only: the networks to load; others stay None.

    Raises:
        UserError: see `resolve` and `read_header`; a tensor is missing, unexpected, of another shape, or not finite.
    """
    headers = [read_header(path) for path in resolve(name_or_path, only)]
    if len(headers) == 1 and "vae" not in headers[0].config and BUNDLED[0].is_file():
        codec = read_header(BUNDLED[0])
        wanted = headers[0].card.get("vae_hash")
        if wanted is not None and wanted == codec.metadata.get("modelspec.hash_sha256"):
            headers.append(codec)
    networks: dict[str, nn.Module] = {}
    config: dict[str, dict] = {}
    card: dict = {}
    for header in headers:
        config |= header.config
        card = header.card | card if "dit" not in header.config else card | header.card
        for network in set(header.networks) & set(only):
            networks[network] = _build(header, network, device, dtype)
    vae, dit, text = (networks.get(name) for name in NETWORKS)
    return Models(vae, dit, text, geometry_of(vae, dit), card, config)


def geometry_of(vae: nn.Module | None, dit: nn.Module | None) -> Geometry | None:
    """The geometry that a codec and a transformer make together, or None without a codec."""
    if vae is None:
        return None
    from .vae.config import S_STRIDE, T_STRIDE

    patch = (1, 1, 1) if dit is None else tuple(dit.config.patch)
    return Geometry(T_STRIDE, S_STRIDE, vae.config.channels, patch)


def _build(header: Header, network: str, device, dtype) -> nn.Module:
    config = config_of(header, network)
    _, cls = config_classes(network)
    # Without memory of its own: nothing is allocated for a config that the weights then contradict.
    with torch.device("meta"):
        module = cls(config)
    expected = {f"{network}.{name}": tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    present = {name: shape for name, shape in header.shapes.items() if name.startswith(network + ".")}
    for problem, names in (
        ("lacks the tensor", expected.keys() - present.keys()),
        ("has an unexpected tensor", present.keys() - expected.keys()),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise UserError(f"{header.path.name} disagrees with its config: it {problem} {min(names)!r}{more}.")
    for name, shape in expected.items():
        if present[name] != shape:
            raise UserError(
                f"{header.path.name} disagrees with its config: {name!r} has the shape {present[name]}, not {shape}."
            )
    for name in expected:
        if header.dtypes[name] not in FLOATS:
            held = f"{name!r} as {header.dtypes[name]}"
            raise UserError(f"{header.path.name} holds {held}: what can be loaded are {', '.join(FLOATS)}.")
    module.load_state_dict(dict(_tensors(header, network)), assign=True)
    return module.to(device=device, dtype=dtype).eval().requires_grad_(False)


def _tensors(header: Header, network: str) -> Iterator[tuple[str, Tensor]]:
    with _opened(header.path) as file:
        for name in header.shapes:
            if name.startswith(network + "."):
                tensor = file.get_tensor(name)
                _check_finite(name, tensor, header.path.name)
                yield name[len(network) + 1 :], tensor


def _check_finite(name: str, tensor: Tensor, where: str = "The weights to save") -> None:
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        raise UserError(f"{where}: the tensor {name!r} holds values that are not finite (NaN or infinity).")
