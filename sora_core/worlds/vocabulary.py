"""The names that scenes are made of, and the colours that go with them."""

SHAPES = ("ball", "square", "triangle", "star", "ring")
CORNERS = {"square": 4, "triangle": 3, "star": 5}  # of what can be seen to spin
COLOURS = {  # as CSS defines them, 0..255
    "red": (255, 0, 0),
    "orange": (255, 165, 0),
    "yellow": (255, 255, 0),
    "green": (0, 128, 0),
    "cyan": (0, 255, 255),
    "blue": (0, 0, 255),
    "purple": (128, 0, 128),
    "pink": (255, 192, 203),
    "brown": (165, 42, 42),
    "white": (255, 255, 255),
    "gray": (128, 128, 128),
    "black": (0, 0, 0),
}
BACKGROUNDS = ("plain", "gradient", "sky", "sea", "grass", "night")
MOTIONS = ("left", "right", "up", "down", "bounce", "orbit", "grow", "shrink", "spin", "still", "behind_wall")
CLOSED = ("bounce", "orbit", "spin")  # motions that come round to where they began by themselves
CAMERAS = ("still", "pan_left", "pan_right", "zoom_in", "zoom_out")
STYLES = ("flat", "charcoal", "neon", "blueprint")
DIRECTIONS = {"vertical": (0.0, 1.0), "horizontal": (1.0, 0.0), "diagonal": (0.5, 0.5)}  # of gradients: across, along

NEON_RGB = {  # the colours that can glow, and as what
    "red": (1.0, 0.12, 0.16),
    "orange": (1.0, 0.55, 0.08),
    "yellow": (1.0, 0.95, 0.15),
    "green": (0.12, 0.95, 0.22),
    "cyan": (0.15, 0.95, 1.0),
    "blue": (0.16, 0.28, 1.0),
    "purple": (0.62, 0.16, 1.0),
    "pink": (1.0, 0.50, 0.74),
    "white": (0.96, 0.96, 1.0),
}
NEON_COLOURS = tuple(NEON_RGB)
EXTENT = {"ball": 0.5, "square": 0.594, "triangle": 0.58, "star": 0.56, "ring": 0.5}  # farthest point / size
WALL_RGB = (0.56, 0.47, 0.40)

# The colours that a textured background shows, in 0..1, from its top to its bottom (`render.py` draws with them).
PALETTES = {
    "sky": ((0.27, 0.53, 0.90), (0.64, 0.81, 0.97)),
    "sea": ((0.42, 0.68, 0.93), (0.64, 0.82, 0.96), (0.10, 0.42, 0.62), (0.04, 0.25, 0.46)),
    "grass": ((0.38, 0.64, 0.93), (0.63, 0.81, 0.96), (0.60, 0.81, 0.36), (0.45, 0.71, 0.28)),
    "night": ((0.02, 0.03, 0.12), (0.10, 0.12, 0.30)),
}
