"""Memory is the host's to manage: weights that stay outside the accelerator, make room, come back, and are freed."""

import json
import subprocess

import pytest
import requests
import torch

from sora_core.batch.host import PACK, find_hosts
from tests.host.conftest import TINY
from tests.host.graph import Clip
from tests.host.hosts import environment


@pytest.fixture(scope="module", params=find_hosts(), ids=lambda host: f"ComfyUI-{host.version}")
def told(request, tiny):
    """What `offloading` saw inside a host."""
    line = [str(environment(request.param)), str(PACK / "tests" / "host" / "offloading.py"), str(request.param.path)]
    done = subprocess.run([*line, str(tiny)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_every_weight_that_stayed_behind_is_taken_to_where_it_is_needed(told):
    assert told["cast"] == dict.fromkeys(("dit", "encode", "encode a film", "decode", "text"), "cuda")
    for name in ("dit", "encode", "encode a film", "decode"):  # and the check sees what it looks for
        assert "two different devices" in told["not cast"][name]


def test_room_is_made_for_a_window_and_not_for_the_film(told):
    short, long = told["reserved"]
    assert short == long > 0


def test_what_adds_masks_to_scores_gets_none(told):
    assert told["masks"] == [False]


def test_the_result_is_the_same_however_little_fits(told):
    assert told["lowvram"] == {"nothing": True, "half": True, "all": False}
    assert told["plain"] == {"nothing": 0, "half": 0, "all": 0}


def test_a_lora_is_added_on_the_way_where_its_weight_stayed_behind(told):
    assert told["effect"] > 0.01
    assert set(told["patched"]) == {"nothing", "half", "all", "made room", "came back"}
    assert max(told["patched"].values()) <= 1e-5


def test_unloading_restores_the_weights_and_leaves_nothing_behind(told):
    assert told["restored"]
    assert told["freed"] == {"loaded": 3, "left": 0, "alive": 0}


def test_the_buttons_that_unload_and_free_work_in_the_middle_of_a_session(server, latents):
    """POST /free is what the front end's buttons send."""

    def run(seed: int):
        g = Clip(TINY)
        node = g.keep(g.sample(seed=seed))
        return latents(server.run(g.api), node)

    first, _ = run(77), run(78)  # the host still has the result of the last
    for what in ({"unload_models": True}, {"unload_models": True, "free_memory": True}):
        loads = server.log().count("Requested to load SoraModel")
        assert requests.post(f"{server.url}/free", json=what, timeout=60).status_code == 200
        assert torch.equal(run(77), first)
        assert server.log().count("Requested to load SoraModel") == loads + 1
        run(78)
