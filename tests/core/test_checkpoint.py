"""Weights, config and card come back; whatever is wrong with a file is said by name in one sentence."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sora_core.checkpoint import load, make_config, read_header, resolve, save
from sora_core.dit import DiT, DiTConfig
from sora_core.errors import UserError
from sora_core.grid import Geometry
from sora_core.vae import VAE, VAEConfig

ROOT = Path(__file__).parents[2]
VAE_CONFIG = VAEConfig(
    channels=4, fine_width=8, middle_width=8, coarse_width=8, encoder_blocks=(1, 0, 1), decoder_blocks=(1, 0, 1)
)
DIT_CONFIG = DiTConfig(width=32, depth=2, heads=2, text_width=16, channels=4, patch=(1, 2, 2))


def networks():
    torch.manual_seed(0)
    vae = VAE(VAE_CONFIG)
    vae.latent_mean.normal_()
    return {"vae": vae, "dit": DiT(DIT_CONFIG)}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.safetensors"
    save(path, networks(), card={"title": "A test", "license": "Apache-2.0", "steps": 5})
    return path


def test_what_is_saved_comes_back(saved):
    models = load(saved)
    for name, module in networks().items():
        loaded = getattr(models, name)
        assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
        assert loaded.config == module.config
        for key, value in module.state_dict().items():
            assert torch.equal(loaded.state_dict()[key], value), key
    video, latent = torch.rand(1, 3, 5, 16, 16) * 2 - 1, torch.randn(1, 4, 2, 2, 2)
    assert torch.equal(models.vae.encode(video), networks()["vae"].encode(video))
    told = (latent, torch.tensor([0.5]), torch.randn(1, 3, 16))
    # weights read from a file lie elsewhere in memory, where the matrix kernels may add in another order
    assert torch.allclose(models.dit(*told), networks()["dit"](*told), atol=1e-6)
    assert models.text is None
    assert models.geometry == Geometry(4, 8, 4, (1, 2, 2))
    assert models.card == {"title": "A test", "license": "Apache-2.0", "steps": 5}


def test_the_header_tells_without_the_weights(saved):
    header = read_header(saved)
    assert header.networks == ("vae", "dit")
    assert header.config["dit"] == json.loads(json.dumps(dataclasses.asdict(DIT_CONFIG)))
    assert header.metadata["modelspec.title"] == "A test"
    assert header.metadata["modelspec.license"] == "Apache-2.0"
    assert header.metadata["modelspec.sai_model_spec"] == "1.0.1"
    assert header.shapes["dit.patch_in.weight"] == (32, 16)


def test_a_state_dict_can_be_saved_with_its_config(tmp_path):
    averaged = {k: v + 1 for k, v in networks()["vae"].state_dict().items()}
    save(tmp_path / "a.safetensors", {"vae": averaged}, {"vae": VAE_CONFIG})
    assert torch.equal(load(tmp_path / "a.safetensors").vae.latent_std, torch.full((4,), 2.0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_storage_keeps_vectors_whole(tmp_path, dtype):
    modules = networks()
    save(tmp_path / "a.safetensors", modules, dtype=dtype)
    stored = load_file(tmp_path / "a.safetensors")
    assert stored["dit.patch_in.weight"].dtype == dtype
    assert torch.equal(stored["vae.latent_mean"], modules["vae"].latent_mean)
    loaded = load(tmp_path / "a.safetensors").dit.patch_in.weight
    assert loaded.dtype == torch.float32
    assert torch.allclose(loaded, modules["dit"].patch_in.weight, rtol=0.01)
    half = load(tmp_path / "a.safetensors", dtype=torch.bfloat16)
    assert half.dit.patch_in.weight.dtype == torch.bfloat16


def test_the_hash_follows_the_weights(tmp_path):
    modules = networks()
    hashes = []
    for change in (0, 0, 1e-3):
        modules["vae"].latent_mean.add_(change)
        save(tmp_path / "a.safetensors", {"vae": modules["vae"]})
        hashes.append(read_header(tmp_path / "a.safetensors").metadata["modelspec.hash_sha256"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_saving_never_leaves_half_a_file(tmp_path, saved, files_of_at_most):
    before = saved.read_bytes()
    script = (
        "import sys, torch; from sora_core.checkpoint import save; from sora_core.vae import VAE, VAEConfig\n"
        "from sora_core.errors import UserError\n"
        "try: save(sys.argv[1], {'vae': VAE(VAEConfig())})\n"
        "except UserError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(saved)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=files_of_at_most(50_000),
    )
    assert "the disk is full" in done.stdout, done.stdout + done.stderr
    assert saved.read_bytes() == before
    assert os.listdir(tmp_path) == [saved.name]


def test_whoever_may_read_a_new_file_may_read_a_checkpoint(tmp_path, saved):
    (tmp_path / "plain").touch()
    assert saved.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_name_is_needed_for_every_network(tmp_path):
    with pytest.raises(ValueError, match="must name the same"):
        save(tmp_path / "a.safetensors", {"unet": networks()["vae"]})


# ----------------------------------------------------------------------------------------------------- what is refused


def refused(path) -> str:
    with pytest.raises(UserError) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message and Path(path).name in message, message
    return message


def rewrite(path, tensors=None, metadata=None):
    """The same file with tensors added or replaced (None removes), and metadata replaced."""
    with safe_open(path, "pt") as file:
        old = dict(file.metadata())
    state = load_file(path) | (tensors or {})
    save_file({k: v for k, v in state.items() if v is not None}, path, metadata=old | (metadata or {}))


@pytest.mark.parametrize("keep", [0, 5, 8, 300, 0.5, 0.99])
def test_truncated(saved, keep):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
    assert ("truncated" if keep > 8 or isinstance(keep, float) else "") in refused(saved)


def test_garbage(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(bytes(range(256)) * 40)
    assert "not a safetensors file" in refused(path)


@pytest.mark.parametrize("name", ["a.pt", "a.ckpt", "a.bin", "a.pth", "a.safetensors"])
def test_a_pickle_is_never_opened(tmp_path, name):
    for new_format in (True, False):
        torch.save({"weight": torch.zeros(3)}, tmp_path / name, _use_new_zipfile_serialization=new_format)
        assert "pickle" in refused(tmp_path / name)


def test_a_header_of_any_length_is_no_pickle(tmp_path):
    """A pickle begins with 0x80, and so do the files whose header is so many bytes long."""
    path, first = tmp_path / "model.safetensors", set()
    for length in range(256):
        save(path, {"vae": networks()["vae"]}, card={"title": "x" * length})
        if (start := path.read_bytes()[:1]) in first:
            continue
        first.add(start)
        assert read_header(path).card == {"title": "x" * length}
        path.write_bytes(path.read_bytes()[:200])
        assert "truncated inside its header" in refused(path)
    assert b"\x80" in first


def test_a_foreign_model(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"model.diffusion_model.input_blocks.0.weight": torch.zeros(2, 2)}, path)
    assert "not a checkpoint of this project" in (message := refused(path)) and "model.diffusion_model" in message


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda c: c["dit"].pop("depth"), "lacks the key 'depth'"),
        (lambda c: c["dit"].update(colour=1), "unknown key 'colour'"),
        (lambda c: c["dit"].update(heads=5), "width 32 must be a multiple of heads 5"),
        (lambda c: c["dit"].update(heads=0), "'dit' is wrong"),
        (lambda c: c["dit"].update(heads="two"), "impossible 'heads': two"),
        (lambda c: c["dit"].update(width=10**12), "impossible 'width'"),
        (lambda c: c["dit"].update(width=2**17), "has the shape"),  # 400 GB, if it were built first
        (lambda c: c["dit"].update(patch=[1, -2, 2]), "impossible 'patch'"),
        (lambda c: c["dit"].update(depth=3), "lacks the tensor 'dit.blocks.2"),
        (lambda c: c["dit"].update(depth=2**18), "'dit' has 262144 blocks there"),  # minutes, if they were built first
        (lambda c: c["vae"].update(encoder_blocks=[1, 0, 2**18]), "'vae' has 262147 blocks there"),
        (lambda c: c["dit"].update(depth=1), "unexpected tensor 'dit.blocks.1"),
        (lambda c: c["dit"].update(width=64), "has the shape"),
        (lambda c: c["vae"].update(encoder_blocks=[1]), "encoder_blocks"),
        (lambda c: c.update(unet={}), "unet"),
        (lambda c: c.update(vae=3), "holds no table for 'vae'"),
        (lambda c: c.clear(), "names no network"),
    ],
)
def test_a_config_that_is_wrong(saved, change, says):
    config = dict(read_header(saved).config)
    change(config)
    rewrite(saved, metadata={"sora.config": json.dumps(config)})
    assert says in refused(saved)


@pytest.mark.parametrize(
    "text, says",
    [("{", "damaged"), ("[]", "not a table"), ("[" * 100_000, "damaged"), ('{"vae": ' + "1" * 5000 + "}", "damaged")],
    ids=["half", "a list", "lists in lists", "a number without end"],
)
def test_a_damaged_header(saved, text, says):
    rewrite(saved, metadata={"sora.config": text})
    assert says in refused(saved)


def test_tensors_that_disagree_are_named(saved):
    original = saved.read_bytes()
    for tensors, says in [
        ({"dit.patch_in.weight": None}, "lacks the tensor 'dit.patch_in.weight'"),
        ({"dit.extra": torch.zeros(1)}, "unexpected tensor 'dit.extra'"),
        ({"dit.patch_in.weight": torch.zeros(32, 17)}, "'dit.patch_in.weight' has the shape (32, 17), not (32, 16)"),
        ({"vae.latent_mean": torch.full((4,), float("nan"))}, "'vae.latent_mean' holds values that are not finite"),
        ({"vae.latent_mean": torch.zeros(4, dtype=torch.int8)}, "holds 'vae.latent_mean' as I8: what can be loaded"),
        ({"vae.latent_mean": torch.zeros(4).to(torch.float8_e4m3fn)}, "holds 'vae.latent_mean' as F8_E4M3"),
    ]:
        saved.write_bytes(original)
        rewrite(saved, tensors)
        assert says in refused(saved)


def test_nan_is_not_saved(tmp_path):
    vae = networks()["vae"]
    vae.latent_mean[0] = float("nan")
    with pytest.raises(UserError, match=r"vae\.latent_mean.*not finite"):
        save(tmp_path / "a.safetensors", {"vae": vae})
    vae.latent_mean[0] = 0
    with torch.no_grad():
        vae.encoder.skip.weight[0, 0] = 1e6  # beyond float16
    with pytest.raises(UserError, match=r"encoder\.skip\.weight.*not finite"):
        save(tmp_path / "a.safetensors", {"vae": vae}, dtype=torch.float16)
    assert os.listdir(tmp_path) == []


# ----------------------------------------------------------------------------------------------------------- the names


def test_names_that_lead_nowhere(tmp_path):
    assert "not there" in refused(tmp_path / "none.safetensors")
    assert "a folder" in refused(tmp_path)
    for name in ("hf:org/name", "hf:name@main", "hf:org/name:a.bin@main"):
        with pytest.raises(UserError):
            resolve(name)


def test_the_hub_is_asked_only_with_its_prefix(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=r"is not there: give the path"):
        resolve("org/name@0123456")


def test_an_unreachable_hub_is_one_sentence():
    script = "from sora_core.checkpoint import resolve\ntry: resolve('hf:org/name@0123456')\nexcept Exception as e: "
    done = subprocess.run(
        [sys.executable, "-c", script + "print(type(e).__name__, e)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert done.stdout.startswith("UserError 'sora.safetensors' of 'org/name' at '0123456' could not be fetched")
    assert done.stdout.count("\n") == 1


def test_configs_survive_json():
    fields = json.loads(json.dumps(dataclasses.asdict(VAE_CONFIG)))
    assert make_config("vae", fields) == VAE_CONFIG
