"""The checkpoint that is shipped is trained: figures well below what `sora evaluate` measures, far above chance."""

import pytest
import torch

from sora_core.evaluation.setting import Setting, held_out, judge, truth
from sora_core.grid import Grid
from sora_core.pipeline import Pipeline
from sora_core.quality import psnr

CASES = 12


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    return Setting(tmp_path_factory.mktemp("evaluation"), "bundled", count=CASES, batch=CASES)


def test_the_codec_keeps_held_out_worlds(setting):
    grid = Grid(17, 64, 64, 8.0)
    video = truth(held_out(setting, CASES, grid), grid)
    latent = setting.pipeline.encode(video)
    assert latent.shape == (CASES, 16, 5, 8, 8)
    assert latent.std() == pytest.approx(1, abs=0.3)  # standardised
    copy = torch.cat(list(setting.pipeline.frames(latent, grid)), dim=2)
    assert psnr(video, copy).mean() > 29


def test_a_sentence_chooses_the_background(setting):
    grid = Grid(17, 64, 64, 8.0)
    made = [case for case in held_out(setting, 40, grid) if case.scene.shows_background][:CASES]
    ((cases, clips),) = setting.generate(made, grid, "test")
    right = sum(bool(verdict["background"]) for verdict in judge(cases, clips))
    assert right > CASES / 2  # chance is below 1 in 10


def test_the_given_image_stays(setting):
    grid = Grid(17, 64, 64, 8.0)
    (case,) = held_out(setting, 1, grid)
    image = truth([case], grid)[:, :, 0]
    clip = setting.pipeline.animate(image, case.prompt, grid, seed=1, steps=4)
    assert psnr(clip[:, :, :1], image[:, :, None]).min() > 26


def test_the_networks_belong_together():
    pipeline = Pipeline.load("bundled")
    assert pipeline.vae.config.channels == pipeline.dit.config.channels
    assert pipeline.dit.config.text_width == pipeline.text.config.width
