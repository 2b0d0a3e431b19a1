"""Blender materials by name, and the paint colours vehicles come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Surface:
    """A plain surface (linear RGB)."""

    colour: Colour
    roughness: float = 0.5
    metallic: float = 0.0
    coat: float = 0.0
    specular: float = 0.5
    emission: float = 0.0


SURFACES: dict[str, Surface] = {
    "glass": Surface((0.012, 0.016, 0.018), 0.04, specular=1.0),
    "trim": Surface((0.012, 0.012, 0.013), 0.45),
    "plastic": Surface((0.03, 0.03, 0.032), 0.6),
    "under": Surface((0.006, 0.006, 0.006), 0.9),
    "tyre": Surface((0.018, 0.018, 0.018), 0.85),
    "rim": Surface((0.55, 0.56, 0.58), 0.3, 0.9),
    "chrome": Surface((0.8, 0.8, 0.82), 0.12, 1.0),
    "tail": Surface((0.42, 0.006, 0.006), 0.18, coat=1.0, emission=0.10),
    "amber": Surface((0.75, 0.22, 0.02), 0.2, coat=1.0),
    "lamp": Surface((0.75, 0.78, 0.8), 0.08, 0.35, 1.0, emission=0.12),
    "white": Surface((0.72, 0.72, 0.70), 0.5),
    "steel": Surface((0.25, 0.26, 0.27), 0.5, 0.7),
    "skin": Surface((0.30, 0.165, 0.10), 0.6),
    "hair": Surface((0.012, 0.010, 0.009), 0.5),
    "jeans": Surface((0.03, 0.05, 0.10), 0.85),
    "seat": Surface((0.015, 0.015, 0.015), 0.55),
    "wood": Surface((0.20, 0.12, 0.06), 0.8),
    "sack": Surface((0.50, 0.46, 0.36), 0.9),
    "reflector": Surface((0.55, 0.02, 0.02), 0.4),
    "beacon_red": Surface((0.35, 0.01, 0.012), 0.12, coat=1.0),
    "beacon_blue": Surface((0.012, 0.04, 0.40), 0.12, coat=1.0),
    "plate": Surface((0.62, 0.62, 0.61), 0.45),
    "pole": Surface((0.30, 0.31, 0.31), 0.5, 0.4),
    "head": Surface((0.012, 0.012, 0.012), 0.5),
    "foot": Surface((0.60, 0.42, 0.02), 0.6),
    "kerb_white": Surface((0.60, 0.60, 0.58), 0.8),
    "kerb_black": Surface((0.03, 0.03, 0.03), 0.8),
    "shutter": Surface((0.22, 0.23, 0.24), 0.6, 0.3),
    "pane": Surface((0.03, 0.045, 0.055), 0.12, specular=0.8),
    "roof": Surface((0.20, 0.08, 0.05), 0.8),
    "asphalt_flat": Surface((0.105, 0.103, 0.10), 0.9, specular=0.2),
    # slots that each vehicle fills with its own colours
    "paint": Surface((0.5, 0.5, 0.5), 0.35, 0.25, 1.0),
    "shirt": Surface((0.3, 0.3, 0.3), 0.85),
    "shirt2": Surface((0.3, 0.3, 0.3), 0.85),
    "hat": Surface((0.02, 0.02, 0.025), 0.2, coat=1.0),
    "hat2": Surface((0.02, 0.02, 0.025), 0.2, coat=1.0),
}

PAINTS: dict[str, Colour] = {
    "white": (0.72, 0.72, 0.71),
    "black": (0.008, 0.008, 0.009),
    "silver": (0.38, 0.39, 0.40),
    "grey": (0.09, 0.095, 0.10),
    "red": (0.42, 0.012, 0.014),
    "maroon": (0.13, 0.01, 0.015),
    "blue": (0.015, 0.05, 0.22),
    "light_blue": (0.12, 0.28, 0.45),
    "green": (0.02, 0.12, 0.05),
    "yellow": (0.62, 0.38, 0.02),
    "orange": (0.55, 0.14, 0.01),
    "beige": (0.42, 0.36, 0.27),
    "brown": (0.09, 0.045, 0.02),
}
SHIRTS: tuple[Colour, ...] = (
    (0.04, 0.10, 0.25), (0.38, 0.05, 0.04), (0.35, 0.33, 0.30), (0.03, 0.16, 0.07),
    (0.02, 0.02, 0.025), (0.45, 0.30, 0.05), (0.20, 0.06, 0.20), (0.5, 0.5, 0.48),
)  # fmt: skip
HELMETS: tuple[Colour, ...] = (
    (0.5, 0.02, 0.02), (0.6, 0.6, 0.6), (0.02, 0.02, 0.02), (0.1, 0.12, 0.4), (0.5, 0.25, 0.02), (0.05, 0.2, 0.1)
)  # fmt: skip


def named(name: str) -> Any:
    """The material of a name in :data:`SURFACES`, made once per file."""
    found = bpy.data.materials.get(name)
    return found if found is not None else plain(name, SURFACES[name])


def plain(name: str, surface: Surface) -> Any:
    """A new material of one plain surface."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    shader = material.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (*surface.colour, 1)
    shader.inputs["Roughness"].default_value = surface.roughness
    shader.inputs["Metallic"].default_value = surface.metallic
    shader.inputs["Coat Weight"].default_value = surface.coat
    shader.inputs["Coat Roughness"].default_value = 0.04
    shader.inputs["Specular IOR Level"].default_value = surface.specular
    if surface.emission:
        shader.inputs["Emission Color"].default_value = (*surface.colour, 1)
        shader.inputs["Emission Strength"].default_value = surface.emission
    return material


def paint(colour: str, dirt: float) -> Any:
    """Car paint of a named colour, dusty towards the sills: ``dirt`` from 0 (clean) to 1."""
    key = f"paint_{colour}_{dirt:.1f}"
    found = bpy.data.materials.get(key)
    if found is not None:
        return found
    metallic = 0.0 if colour in ("white", "yellow", "orange", "beige") else 0.35
    material = plain(key, Surface(PAINTS[colour], 0.32 + 0.2 * dirt, metallic, 1.0 - 0.6 * dirt))
    tree = material.node_tree
    shader = tree.nodes["Principled BSDF"]
    place = tree.nodes.new("ShaderNodeTexCoord")
    split = tree.nodes.new("ShaderNodeSeparateXYZ")
    tree.links.new(place.outputs["Object"], split.inputs[0])
    low = tree.nodes.new("ShaderNodeMapRange")
    low.inputs["From Min"].default_value, low.inputs["From Max"].default_value = 0.25, 0.95
    low.inputs["To Min"].default_value, low.inputs["To Max"].default_value = 0.75 * dirt, 0.08 * dirt
    tree.links.new(split.outputs["Z"], low.inputs["Value"])
    noise = tree.nodes.new("ShaderNodeTexNoise")
    noise.inputs["Scale"].default_value, noise.inputs["Detail"].default_value = 5.0, 6.0
    tree.links.new(place.outputs["Object"], noise.inputs["Vector"])
    amount = tree.nodes.new("ShaderNodeMath")
    amount.operation = "MULTIPLY"
    tree.links.new(low.outputs[0], amount.inputs[0])
    tree.links.new(noise.outputs[0], amount.inputs[1])
    mix = tree.nodes.new("ShaderNodeMix")
    mix.data_type = "RGBA"
    mix.inputs[6].default_value = (*PAINTS[colour], 1)
    mix.inputs[7].default_value = (0.22, 0.17, 0.11, 1)
    tree.links.new(amount.outputs[0], mix.inputs[0])
    tree.links.new(mix.outputs[2], shader.inputs["Base Color"])
    return material
