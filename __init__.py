"""A ComfyUI pack: the host calls `comfy_entrypoint`. Nothing is imported before that, so the root stays importable
where there is no host."""

WEB_DIRECTORY = "web"  # the help pages of the nodes (web/docs) and the labels of their options


async def comfy_entrypoint():
    """What ComfyUI asks a pack for: an extension that lists its nodes."""
    from .nodes import SoraExtension

    return SoraExtension()
