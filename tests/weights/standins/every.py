"""The stand-ins of all groups: one line for a new one."""

from standins import chest, cnn, dino, keras_nets, timm_nets, vit
from standins.standin import StandIn

GROUPS = (timm_nets, cnn, keras_nets, dino, chest, vit)
EVERY: tuple[StandIn, ...] = tuple(standin for group in GROUPS for standin in group.STANDINS)
