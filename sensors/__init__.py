"""What makes the graph move: the sensors and the automation condition."""

from sensors.conditions import automation, with_policy
from sensors.drift import drift_sensor
from sensors.held import held_sensor
from sensors.landing import landing_sensor
from sensors.takedown import takedown_sensor

__all__ = ["automation", "drift_sensor", "held_sensor", "landing_sensor", "takedown_sensor", "with_policy"]
