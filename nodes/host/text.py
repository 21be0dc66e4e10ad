"""The text encoder as the host's CLIP, so that CLIPTextEncode works."""

import comfy.ops
import comfy.sd
import comfy.supported_models_base
import torch

from ...sora_core.text import TextConfig, TextEncoder


class HostTokenizer:
    """The engine's windows of tokens in the host's form. Words have no weights: the prompt is taken as it stands."""

    def __init__(self, config: TextConfig):
        self.encoder = TextEncoder(config, device="meta")  # it cuts texts up, for which it needs no weights

    def tokenize_with_weights(self, text: str, return_word_ids: bool = False, **_) -> dict:
        weight = (1.0, 0) if return_word_ids else (1.0,)
        return {"sora": [[(token, *weight) for token in window] for window in self.encoder.windows(text)]}

    def state_dict(self) -> dict:
        return {}  # the merges are part of the encoder's config


class HostTextEncoder(TextEncoder):
    """The engine's text encoder, called as the host calls one."""

    disable_offload = True  # it is small: the host need not page its weights in and out

    def __init__(self, config: TextConfig, *, dtype=None, device=None):
        super().__init__(config, operations=comfy.ops.manual_cast, device=device, dtype=dtype)
        self.dtypes = {dtype}

    def set_clip_options(self, options: dict) -> None:
        """The host's options (layers to skip, where to run) have no meaning here: the weights say where."""

    def reset_clip_options(self) -> None:
        """See `set_clip_options`."""

    def encode_token_weights(self, tokens: dict) -> tuple:
        """Tokens of one prompt -> (text (1, L, D), its summary (1, D))."""
        text = self.encode_windows([[token[0] for token in window] for window in tokens["sora"]]).float()
        return text, text[:, 0]

    def load_sd(self, state: dict):
        return self.load_state_dict(state, strict=False)


def make_clip(encoder: TextEncoder) -> comfy.sd.CLIP:
    """A CLIP with the weights of an engine's text encoder, which is on the CPU. It computes in float32:
    it is small, and the host's usual half precision would change the picture."""
    state = encoder.state_dict()
    clip = comfy.sd.CLIP(
        comfy.supported_models_base.ClipTarget(
            lambda embedding_directory=None, tokenizer_data=None: HostTokenizer(encoder.config),
            lambda dtype, device, model_options: HostTextEncoder(encoder.config, dtype=dtype, device=device),
        ),
        parameters=sum(tensor.numel() for tensor in state.values()),
        state_dict=state,
        model_options={"dtype": torch.float32},
    )
    clip.cond_stage_model.eval().requires_grad_(False)
    return clip
