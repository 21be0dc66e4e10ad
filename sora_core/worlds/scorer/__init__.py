"""Classical vision for the worlds, from pixels alone: ground (style, background, camera), figures, tracks."""
